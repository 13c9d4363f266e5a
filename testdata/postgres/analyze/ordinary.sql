-- What honest clients send, one statement a line.
SELECT 1
SELECT
SELECT 'a' AS b, 2 + 2, now(), current_date, current_user
SELECT id, name FROM customers WHERE id = 1
SELECT id, name FROM customers WHERE id = $1
SELECT * FROM customers ORDER BY id LIMIT 10 OFFSET 5
SELECT count(*) FROM customers
SELECT country, count(*) AS n FROM customers GROUP BY country HAVING count(*) > 1 ORDER BY n DESC
SELECT country, count(*) FROM customers GROUP BY 1 ORDER BY 2
SELECT lower(country) AS name, count(*) FROM customers GROUP BY name
SELECT c.name, o.total FROM customers c JOIN orders o ON o.customer_id = c.id
SELECT c.name, o.total FROM customers c LEFT JOIN orders o ON o.customer_id = c.id WHERE o.id IS NULL
SELECT c.*, o.total FROM customers c, orders o WHERE c.id = o.customer_id
SELECT * FROM customers c JOIN orders o ON o.customer_id = c.id JOIN lines l ON l.order_id = o.id
SELECT * FROM orders JOIN lines ON lines.order_id = orders.id
SELECT * FROM customers NATURAL JOIN orders
SELECT id, customers.id, orders.id FROM customers JOIN orders USING (id)
SELECT * FROM customers JOIN orders USING (id) JOIN pairs USING (id)
SELECT * FROM customers RIGHT JOIN orders USING (id)
SELECT * FROM customers FULL JOIN orders USING (id)
SELECT * FROM (customers c CROSS JOIN orders o) JOIN lines l ON l.order_id = o.id
SELECT j.* FROM (customers c JOIN orders o USING (id)) AS j
SELECT j.id, j.email FROM (customers c JOIN emails_seen e USING (email)) AS j
SELECT j.mail FROM (customers c JOIN emails_seen e USING (email)) AS j(mail)
SELECT name FROM customers WHERE id IN (SELECT customer_id FROM orders)
SELECT name FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND o.total > 5)
SELECT name, (SELECT sum(total) FROM orders o WHERE o.customer_id = c.id) FROM customers c
SELECT name, (SELECT max(total) FROM orders o WHERE o.customer_id = c.id) AS biggest FROM customers c ORDER BY biggest
SELECT s.n FROM (SELECT name AS n, id FROM customers) s WHERE s.id > 1
SELECT s.n FROM (SELECT name, id FROM customers) s(n) WHERE s.id > 1
SELECT * FROM (SELECT * FROM (SELECT * FROM customers) a) b
SELECT x FROM (VALUES (1), (2)) v(x)
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) v(x, y) JOIN customers c ON c.id = v.x
VALUES (1, 'a'), (2, 'b')
TABLE orders
WITH a AS (SELECT id FROM customers), b AS (SELECT id FROM a) SELECT * FROM b
WITH a AS (SELECT id FROM customers), b AS (SELECT a.id, o.total FROM a JOIN orders o ON o.customer_id = a.id) SELECT sum(total) FROM b
WITH a(i) AS (SELECT id FROM customers) SELECT i FROM a
WITH a AS (WITH b AS (SELECT email FROM customers) SELECT * FROM b) SELECT * FROM a
WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 10) SELECT sum(n) FROM t
WITH RECURSIVE t AS (SELECT id, name AS path FROM customers WHERE id = 1 UNION ALL SELECT c.id, t.path || c.email FROM customers c JOIN t ON c.id = t.id + 1) SELECT * FROM t
WITH RECURSIVE t(a, b) AS (SELECT name, email FROM customers UNION SELECT b, a FROM t) SELECT a FROM t
WITH RECURSIVE b AS (SELECT * FROM a), a AS (SELECT email FROM customers) SELECT * FROM b
WITH RECURSIVE t(id, p) AS (SELECT id, 0 FROM customers UNION ALL SELECT o.id, 1 FROM orders o, t WHERE o.customer_id = t.id) SEARCH DEPTH FIRST BY id SET ord SELECT * FROM t
WITH RECURSIVE t(id) AS (SELECT id FROM customers UNION ALL SELECT o.id FROM orders o, t WHERE o.customer_id = t.id) CYCLE id SET looped USING path SELECT * FROM t
SELECT name FROM customers UNION SELECT what FROM lines
SELECT name FROM customers UNION ALL SELECT what FROM lines ORDER BY 1 LIMIT 3
SELECT id FROM customers INTERSECT SELECT customer_id FROM orders
SELECT id FROM customers EXCEPT ALL SELECT customer_id FROM orders
(SELECT id FROM customers ORDER BY id LIMIT 1) UNION ALL (SELECT id FROM orders LIMIT 1)
SELECT DISTINCT country FROM customers
SELECT DISTINCT ON (country) country, name FROM customers ORDER BY country, id
SELECT id, row_number() OVER (PARTITION BY country ORDER BY id) FROM customers
SELECT id, sum(total) OVER w FROM orders WINDOW w AS (PARTITION BY customer_id ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
SELECT id, rank() OVER (ORDER BY total), total - lag(total, 1, 0::numeric) OVER (ORDER BY id) FROM orders
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total) FROM orders
SELECT rank(5) WITHIN GROUP (ORDER BY total) FROM orders
SELECT string_agg(name, ', ' ORDER BY id) FROM customers
SELECT array_agg(DISTINCT country) FROM customers
SELECT count(*) FILTER (WHERE country = 'DE'), count(DISTINCT country) FROM customers
SELECT country, grouping(country) FROM customers GROUP BY ROLLUP (country)
SELECT country, name FROM customers GROUP BY GROUPING SETS ((country), (name))
SELECT CASE WHEN total > 5 THEN 'big' ELSE 'small' END FROM orders
SELECT CASE country WHEN 'DE' THEN name END FROM customers
SELECT coalesce(name, country), nullif(name, country), greatest(id, 1), least(id, 2) FROM customers
SELECT id::text, id::bigint, total::numeric, total::numeric(10,2), name::text FROM orders, LATERAL (SELECT name FROM customers LIMIT 1) n
SELECT name || ' ' || country FROM customers
SELECT upper(name), length(name), substring(name from 1 for 2), trim(name), position('a' in name) FROM customers
SELECT extract(year FROM now()), date_trunc('day', now()), now() - interval '1 day', now() AT TIME ZONE 'UTC'
SELECT to_char(total, '999'), round(total, 1), abs(total), total % 2 FROM orders
SELECT name ILIKE 'a%', name ~ '^A', name LIKE ANY (ARRAY['a%']) , name NOT IN ('x', 'y') FROM customers
SELECT id BETWEEN 1 AND 5, id IS DISTINCT FROM 2, (id, name) = (1, 'x') FROM customers
SELECT tags[1], tags[1:2], array_length(tags, 1), 'x' = ANY (tags) FROM pairs
SELECT (who).email FROM pairs
SELECT (who).* FROM pairs
SELECT (p.who).name, p.who FROM pairs p
SELECT (p).who FROM pairs p
SELECT ((p).who).email FROM pairs p
SELECT unnest(tags) FROM pairs
SELECT id, t FROM pairs, unnest(tags) t
SELECT id, t.v, t.n FROM pairs, unnest(tags) WITH ORDINALITY AS t(v, n)
SELECT * FROM unnest(ARRAY[1, 2], ARRAY['a', 'b']) AS t(a, b)
SELECT * FROM generate_series(1, 3)
SELECT g FROM generate_series(1, 3) g
SELECT g.i FROM generate_series(1, 3) AS g(i)
SELECT * FROM generate_series(1, 3) WITH ORDINALITY
SELECT * FROM ROWS FROM (generate_series(1, 3), generate_series(1, 2)) AS t(a, b)
SELECT * FROM json_each('{"a":1}') AS j
SELECT * FROM json_to_recordset('[]') AS x(a int, b text)
SELECT * FROM regexp_matches('abc', 'b') m
SELECT * FROM string_to_table('a,b', ',') s
SELECT d FROM current_date d
SELECT * FROM pg_get_keywords()
SELECT row_to_json(o) FROM orders o
SELECT json_build_object('id', id, 'name', name) FROM customers
SELECT json_agg(json_build_object('id', id)) FROM customers
SELECT to_jsonb(o) - 'total' FROM orders o
SELECT '{"a":1}'::jsonb -> 'a', '{"a":1}'::jsonb ->> 'a', '{"a":1}'::jsonb @> '{}'
SELECT x.a FROM orders o, LATERAL (SELECT o.total AS a) x
SELECT o.id, l.what FROM orders o CROSS JOIN LATERAL (SELECT what FROM lines WHERE order_id = o.id LIMIT 1) l
SELECT o.id FROM orders o LEFT JOIN LATERAL (SELECT 1 AS one FROM lines WHERE order_id = o.id) l ON true
SELECT (SELECT c.email FROM customers c WHERE c.id = o.customer_id) FROM orders o
SELECT ARRAY(SELECT name FROM customers ORDER BY id)
SELECT ARRAY[id, 2] FROM customers
SELECT ROW(id, name) FROM customers
SELECT (ROW(1, 'a')).f2
SELECT EXISTS (SELECT 1 FROM customers WHERE email = 'x')
SELECT id = ANY (SELECT customer_id FROM orders) FROM customers
SELECT id > ALL (SELECT customer_id FROM orders) FROM customers
SELECT (id, name) IN (SELECT customer_id, 'x' FROM orders) FROM customers
SELECT c.ctid, c.xmin, tableoid::regclass FROM customers c
SELECT ctid FROM customers
SELECT * FROM only parent
SELECT * FROM parent*
SELECT p.email, c.extra FROM parent p JOIN child c ON c.id = p.id
SELECT * FROM part JOIN part1 USING (id)
SELECT email_lc FROM gen
SELECT * FROM v_cust
SELECT contact FROM v_cust_nested
SELECT * FROM v_expr
SELECT * FROM v_germans
SELECT v FROM v_cust v
SELECT (v).contact FROM v_cust v
SELECT v.id, c.name FROM v_cust v JOIN customers c ON c.email = v.contact
SELECT count(contact) FROM v_expr
SELECT * FROM mv_cust WHERE id = 1
SELECT e FROM v_func
SELECT last_value, is_called FROM seq1
SELECT nextval('seq1'), currval('seq1')
SELECT * FROM sa.t, sb.t
SELECT sa.t.x, sb.t.x FROM sa.t, sb.t
SELECT t.x FROM sa.t
SELECT public.customers.email FROM public.customers
SELECT public.customers.* FROM public.customers
SELECT customers.email FROM public.customers
SELECT "customers"."email" FROM "public"."customers"
SELECT all FROM (SELECT 1 AS "all") s
SELECT id AS "ID", name "Full Name" FROM customers
SELECT a.id, b.id FROM customers a, customers b WHERE a.id < b.id
SELECT c.name AS email, c.email AS name FROM customers c
SELECT email FROM (SELECT name AS email, email AS name FROM customers) s
SELECT name FROM (SELECT name AS email, email AS name FROM customers) s
SELECT customers.id FROM orders customers
SELECT o.customer_id FROM customers c, LATERAL (SELECT * FROM orders WHERE orders.customer_id = c.id) o
SELECT id FROM customers WHERE (SELECT count(*) FROM orders WHERE customer_id = customers.id) > 0
SELECT (SELECT name FROM orders LIMIT 1) FROM customers
SELECT id FROM customers c WHERE c.email IN (SELECT email FROM emails_seen WHERE hits > c.id)
SELECT * FROM customers FOR UPDATE
SELECT c.id FROM customers c JOIN orders o ON o.customer_id = c.id FOR UPDATE OF o SKIP LOCKED
SELECT id FROM customers WHERE name = $1 AND country = $2 LIMIT $3
SELECT $1::int + 1
SELECT id FROM customers WHERE id = ANY ($1::int[])
SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'customers'::regclass AND attnum > 0
SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', '') AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1, 2
SELECT d.datname, pg_catalog.pg_get_userbyid(d.datdba), pg_catalog.pg_encoding_to_char(d.encoding) FROM pg_catalog.pg_database d ORDER BY 1
SELECT r.rolname, r.rolsuper, ARRAY(SELECT b.rolname FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid) WHERE m.member = r.oid) AS memberof FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1
SELECT version(), current_database(), current_schema(), pg_backend_pid(), current_setting('server_version')
SELECT t.typname, t.oid FROM pg_type t WHERE t.typname = 'hstore'
INSERT INTO customers (id, name) VALUES (100, 'x')
INSERT INTO customers VALUES (101, 'x', 'y', 'z', 'DE')
INSERT INTO customers (id, name, email) VALUES ($1, $2, $3) RETURNING id
INSERT INTO customers (id, name) VALUES (102, 'x'), (103, 'y') RETURNING *
INSERT INTO customers DEFAULT VALUES
INSERT INTO emails_seen (email, hits) SELECT email, id FROM customers ON CONFLICT (email) DO UPDATE SET hits = emails_seen.hits + excluded.hits WHERE emails_seen.hits < 10 RETURNING email, hits
INSERT INTO emails_seen AS e (email) VALUES ('a') ON CONFLICT ON CONSTRAINT emails_seen_pkey DO NOTHING
INSERT INTO emails_seen VALUES ('b') ON CONFLICT DO NOTHING RETURNING (SELECT count(*) FROM customers)
WITH s AS (SELECT id, name FROM customers) INSERT INTO pairs (id) SELECT id FROM s RETURNING pairs.id
INSERT INTO lines (what) SELECT name FROM customers RETURNING what
INSERT INTO pairs (id, who.email, tags[1]) VALUES (1, 'x', 'y')
INSERT INTO gen (id, email) VALUES (2, 'X') RETURNING email_lc
INSERT INTO part (id, email) VALUES (5, 'x') RETURNING tableoid, *
INSERT INTO v_cust (id, contact) VALUES (200, 'x') RETURNING *
UPDATE customers SET name = 'x' WHERE id = 1
UPDATE customers SET name = name || 'x', country = DEFAULT WHERE id = $1 RETURNING id, name
UPDATE customers SET name = 'x'
UPDATE customers SET name = email WHERE id = 1 RETURNING name
UPDATE customers SET (name, country) = (email, 'US') WHERE id = 1 RETURNING name, country
UPDATE customers SET (name, country) = (SELECT ssn, what FROM customers c2, lines LIMIT 1) WHERE id = 1 RETURNING name
UPDATE orders SET total = o.total + 1 FROM orders o WHERE o.id = orders.id RETURNING o.*, orders.*
UPDATE orders SET total = (SELECT count(*) FROM lines WHERE order_id = orders.id)
UPDATE ONLY parent SET email = 'x' WHERE id = 1
UPDATE parent p SET email = 'x' WHERE p.id = 1 RETURNING p.email
UPDATE part SET email = upper(email) WHERE id < 5
UPDATE pairs SET who.email = 'x', tags[2] = 'z' WHERE id = 1 RETURNING who
UPDATE v_cust SET contact = 'x' WHERE id = 1
UPDATE watched SET v = 'x' WHERE id = 1
DELETE FROM orders WHERE id = 10
DELETE FROM orders
DELETE FROM orders o USING customers c WHERE c.id = o.customer_id AND c.country = 'DE' RETURNING o.id, c.name
DELETE FROM lines WHERE order_id IN (SELECT id FROM orders WHERE total > 5)
WITH gone AS (DELETE FROM lines RETURNING order_id) SELECT * FROM orders WHERE id IN (SELECT order_id FROM gone)
WITH a AS (INSERT INTO lines (what) SELECT email FROM customers RETURNING what) SELECT what FROM a
WITH a AS (UPDATE customers SET name = email RETURNING name) SELECT name FROM a
MERGE INTO emails_seen e USING customers c ON e.email = c.email WHEN MATCHED THEN UPDATE SET hits = hits + 1 WHEN NOT MATCHED THEN INSERT (email, hits) VALUES (c.email, 1)
MERGE INTO emails_seen e USING (SELECT email FROM customers WHERE country = 'DE') c ON e.email = c.email WHEN MATCHED AND e.hits > 5 THEN DELETE WHEN MATCHED THEN DO NOTHING
TRUNCATE lines
TRUNCATE orders, lines RESTART IDENTITY
CREATE TABLE fresh (id int PRIMARY KEY, name text DEFAULT 'x', customer int REFERENCES customers, CHECK (id > 0))
CREATE TEMP TABLE scratch (a int, b text)
CREATE TABLE copyof AS SELECT id, lower(email) AS e FROM customers
CREATE VIEW fresh_view AS SELECT email FROM customers
CREATE INDEX ON customers (lower(email)) WHERE country = 'DE'
CREATE UNIQUE INDEX u ON customers (email)
ALTER TABLE customers ADD COLUMN extra text
ALTER TABLE customers DROP COLUMN country
ALTER TABLE customers ADD CONSTRAINT positive CHECK (id > 0)
ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers (id)
ALTER TABLE customers RENAME TO clients
ALTER TABLE customers ENABLE ROW LEVEL SECURITY
ALTER VIEW v_cust RENAME TO v_client
DROP TABLE lines
DROP TABLE IF EXISTS nothing_here, lines
DROP VIEW v_expr
DROP FUNCTION get_email(int)
DROP SCHEMA sa CASCADE
COMMENT ON COLUMN customers.email IS 'secret'
GRANT SELECT (id) ON customers TO PUBLIC
REVOKE ALL ON customers FROM PUBLIC
CREATE ROLE somebody
LOCK TABLE customers, orders IN SHARE MODE
REFRESH MATERIALIZED VIEW mv_cust
ANALYZE customers
REINDEX TABLE customers
COPY customers TO STDOUT
COPY customers (id, name) TO STDOUT WITH (FORMAT csv, HEADER true, DELIMITER ';')
COPY (SELECT id, email FROM customers) TO STDOUT
COPY orders FROM STDIN WITH (FORMAT csv)
BEGIN
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY
START TRANSACTION
COMMIT
ROLLBACK
SAVEPOINT a
ROLLBACK TO SAVEPOINT a
RELEASE a
SET search_path = public
SET LOCAL work_mem = '4MB'
SET TIME ZONE 'UTC'
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY
RESET ALL
RESET work_mem
SHOW ALL
SHOW server_version
DISCARD ALL
DEALLOCATE ALL
DEALLOCATE p
LISTEN channel
UNLISTEN *
NOTIFY channel, 'payload'
EXPLAIN SELECT * FROM customers
EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM customers WHERE id = 1
EXPLAIN (ANALYZE false, FORMAT json) DELETE FROM orders
EXPLAIN (ANALYZE off) UPDATE orders SET total = 1
CHECKPOINT
CALL pr()
SELECT xmlelement(name a, xmlattributes(id AS i), name) FROM customers
SELECT x.id, x.mail FROM customers c, XMLTABLE('/r' PASSING xmlelement(name r, c.email) COLUMNS id FOR ORDINALITY, mail text PATH '.') x
SELECT xmlserialize(CONTENT xmlelement(name a, email) AS text) FROM customers
SELECT similarity(name, 'x'), name % 'y', name <-> 'z' FROM customers
SELECT 'a=>1'::hstore -> 'a', hstore('a', name) FROM customers
SELECT count(*) FROM customers TABLESAMPLE SYSTEM (10)
SELECT overlay(name placing 'x' from 1 for 1), name COLLATE "C" FROM customers ORDER BY name COLLATE "C"
SELECT (now(), now()) OVERLAPS (now(), now())
SELECT id FROM customers ORDER BY name USING <
SELECT name FROM customers GROUP BY id
SELECT max(email) FROM customers GROUP BY country ORDER BY max(ssn)
SELECT a.email FROM customers a JOIN LATERAL (SELECT a.ssn AS s) b ON b.s = a.ssn
SELECT (c).name, (c.*) IS NULL FROM customers c
SELECT c IS NOT NULL FROM customers c
SELECT c.* IS DISTINCT FROM c FROM customers c
SELECT customers = ROW(1, 'a', 'b', 'c', 'd')::customers FROM customers
SELECT x FROM customers AS x WHERE x.id = 1
SELECT name(c) FROM customers c
SELECT c.id(1) FROM customers c
SELECT count(c) FROM customers c
SELECT array_agg(c ORDER BY c.email) FROM customers c
SELECT (array_agg(c))[1].name FROM customers c
SELECT unnest(array_agg(c)) FROM customers c
SELECT (unnest(array_agg(c))).email FROM customers c
SELECT u.email FROM (SELECT array_agg(c) AS cs FROM customers c) s, unnest(s.cs) u
SELECT (x.c).email FROM (SELECT c FROM customers c) x
SELECT (x.r).f1 FROM (SELECT ROW(email, 1) AS r FROM customers) x
SELECT (SELECT ROW(email, id) FROM customers LIMIT 1)
SELECT * FROM (SELECT c FROM customers c) x, LATERAL (SELECT (x.c).ssn) y
SELECT y.* FROM (SELECT c.* FROM customers c) x, LATERAL (SELECT x.*) y
SELECT json_object_agg(id, email) FROM customers
SELECT jsonb_set('{}', '{a}', to_jsonb(email)) FROM customers
SELECT make_interval(days => id) FROM customers
SELECT lower(name)::varchar(10) FROM customers
SELECT t.n FROM (SELECT id, ntile(4) OVER (ORDER BY email) AS n FROM customers) t
SELECT CAST(NULL AS customers)
SELECT (NULL::customers).email
SELECT p.email FROM part p, part1 q WHERE p.id = q.id
SELECT tableoid, email FROM parent
