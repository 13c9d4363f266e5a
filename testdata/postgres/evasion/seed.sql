-- What the tables hold, put back before each case.
TRUNCATE customers, orders, lines, emails_seen, gen, parent, child, part, pairs, groups, members, clubs, joined, typed, audited, sa.t, sb.t;
INSERT INTO customers VALUES
 (1, 'Ann', 'qzvkxwj@vqjzx.kz', '917-46-8253', 'DE'),
 (2, 'Bob', 'wkqjxzv@xvzqk.jz', '862-53-9174', 'US'),
 (3, 'Cy', 'zjxqvwk@kqzvj.xz', '748-29-6135', 'US');
INSERT INTO orders VALUES (10, 1, 5, 'first'), (11, 2, 7, 'second');
INSERT INTO lines VALUES (10, 'nails'), (11, 'screws');
INSERT INTO emails_seen VALUES ('qzvkxwj@vqjzx.kz', 3);
INSERT INTO gen VALUES (1, 'GQxzVkj@Zkqvj.xq', DEFAULT);
INSERT INTO child VALUES (1, 'kqzxjvw@jvqxz.kq', 2);
INSERT INTO part VALUES (1, 'xvjqkzw@zqxjk.vj');
INSERT INTO pairs SELECT id, c, ARRAY[c.email, c.ssn] FROM customers c;
INSERT INTO groups VALUES (1);
INSERT INTO members VALUES (1, 1, 'vxkjqwz@qkvzx.jq');
INSERT INTO clubs VALUES (1);
INSERT INTO joined VALUES (1, 1, 'jwvqkxz@xkqjz.vq');
INSERT INTO audited VALUES (1, 1);
INSERT INTO sa.t VALUES ('plain');
INSERT INTO sb.t VALUES ('wzqkvjx@kjqvx.zq');
REFRESH MATERIALIZED VIEW mv_cust;
