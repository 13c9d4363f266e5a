-- Statements that get round a naive policy, one a line.
SELECT email FROM customers
SELECT * FROM customers
SELECT c.email AS x FROM customers c
WITH x AS (SELECT email e FROM customers) SELECT e FROM x
WITH x AS MATERIALIZED (SELECT email e FROM customers) SELECT e FROM x
SELECT contact FROM v_cust
SELECT contact FROM v_expr
SELECT email FROM mv_cust
SELECT email FROM part
SELECT email FROM parent
SELECT email FROM child
TABLE customers
SELECT email FROM customers UNION ALL SELECT 'x'
SELECT 'x' UNION ALL SELECT email FROM customers
VALUES ((SELECT email FROM customers LIMIT 1))
SELECT email::varchar FROM customers
SELECT email::text FROM customers
SELECT email COLLATE "C" FROM customers
SELECT (email) FROM customers
SELECT email||'' FROM customers
SELECT md5(email), substring(email,1,3), reverse(email), encode(email::bytea,'hex'), ascii(email), length(email) FROM customers
SELECT customers FROM customers
SELECT (c).email FROM customers c
SELECT (c).* FROM customers c
SELECT c.email FROM customers AS c(a,b,email,d,e)
SELECT c.x FROM customers AS c(a,b,x,d,e)
SELECT c::text FROM customers c
SELECT row_to_json(c), to_jsonb(c)->>'email' FROM customers c
SELECT json_agg(c) FROM customers c
SELECT hstore(c) FROM customers c
SELECT ARRAY(SELECT email FROM customers)
SELECT string_agg(email, ',') FROM customers
SELECT array_agg(email) FROM customers
SELECT first_value(email) OVER () FROM customers
SELECT DISTINCT email FROM customers
SELECT DISTINCT ON (id) email FROM customers
SELECT email FROM customers ORDER BY 1 LIMIT 1
SELECT coalesce(email,'') FROM customers
SELECT nullif(email,'') FROM customers
SELECT email FROM customers NATURAL JOIN emails_seen
SELECT email FROM customers JOIN emails_seen USING (email)
SELECT email FROM emails_seen e JOIN customers c USING (email)
SELECT x.email FROM customers c JOIN emails_seen e USING (email) AS x
SELECT u FROM unnest(ARRAY(SELECT email FROM customers)) u
SELECT x.email FROM customers c, LATERAL (SELECT c.email) x
SELECT x.* FROM json_populate_recordset(null::customers,(SELECT json_agg(c) FROM customers c)) x
SELECT * FROM jsonb_to_recordset((SELECT jsonb_agg(c) FROM customers c)) AS x(email text)
SELECT get_email(1)
SELECT * FROM all_e()
SELECT (all_c()).email
SELECT wipe()
SELECT table_to_xml('customers',true,false,'')
SELECT database_to_xml(true,false,'')
SELECT * FROM xmltable('/row' passing (query_to_xml('select email from customers',false,true,'')) columns email text)
SELECT * FROM ts_stat('select to_tsvector(''simple'',email) from customers')
SELECT ts_rewrite('a'::tsquery, 'select ''a''::tsquery, plainto_tsquery(''simple'',email) from customers limit 1')
SELECT * FROM crosstab('select id, 1, email from customers order by 1') AS ct(id int, e text)
SELECT most_common_vals, histogram_bounds FROM pg_stats WHERE tablename='customers' AND attname='email'
SELECT staattnum, stavalues1 FROM pg_statistic LIMIT 1
SELECT query FROM pg_stat_activity WHERE query<>'' LIMIT 1
SELECT id FROM customers ORDER BY email
SELECT id FROM customers WHERE email='ann@example.com'
SELECT id, row_number() OVER (ORDER BY ssn) FROM customers
SELECT CAST(email AS int) FROM customers
SELECT id FROM customers WHERE email::int=1
SELECT 1/(CASE WHEN email LIKE 'a%' THEN 0 ELSE 1 END) FROM customers WHERE id=1
INSERT INTO customers(id,email) SELECT id, email FROM customers LIMIT 1
INSERT INTO emails_seen SELECT email FROM customers RETURNING email
INSERT INTO emails_seen VALUES ('ann@example.com') ON CONFLICT (email) DO UPDATE SET hits=1 RETURNING *
UPDATE orders o SET total=1 FROM customers c WHERE c.id=o.customer_id RETURNING c.email
DELETE FROM orders o USING customers c WHERE c.id=o.customer_id RETURNING c.email
MERGE INTO orders o USING customers c ON o.customer_id=c.id WHEN MATCHED THEN DELETE
CREATE TABLE steal AS SELECT * FROM customers
SELECT * INTO steal FROM customers
CREATE TEMP TABLE s AS SELECT email AS x FROM customers; SELECT x FROM s
CREATE MATERIALIZED VIEW steal AS SELECT email AS x FROM customers; SELECT x FROM steal
CREATE TABLE steal (LIKE customers INCLUDING ALL); INSERT INTO steal SELECT * FROM customers; SELECT email FROM steal
ALTER TABLE customers RENAME COLUMN email TO contact; SELECT contact FROM customers
ALTER TABLE customers ADD COLUMN e2 text GENERATED ALWAYS AS (email||'') STORED; SELECT e2 FROM customers
ALTER TABLE customers ALTER COLUMN id TYPE text USING email
CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql AS 'SELECT email FROM customers LIMIT 1'; SELECT pg_temp.f()
CREATE FUNCTION leak(text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS $$BEGIN RAISE NOTICE '%',$1; RETURN true; END$$; SELECT id FROM customers WHERE leak(email)
CREATE OPERATOR <<< (LEFTARG=text, RIGHTARG=text, FUNCTION=text_lt); SELECT id FROM customers WHERE email <<< 'm'
CREATE AGGREGATE steal(text) (SFUNC=textcat, STYPE=text, INITCOND=''); SELECT steal(email) FROM customers
CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN DELETE FROM emails_seen; RETURN NEW; END$$; CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION tf(); INSERT INTO orders VALUES (98,1,1)
CREATE SCHEMA evil CREATE VIEW customers AS SELECT * FROM public.emails_seen
CREATE TEMP TABLE customers AS SELECT 1 AS id; SELECT * FROM customers
SELECT set_config('search_path','evil,public',false)
SELECT set_config('role','ops',false), current_user
SET ROLE ops
RESET SESSION AUTHORIZATION
SET LOCAL statement_timeout=0
SET session_replication_role=replica
ALTER ROLE gw SET search_path=evil
DO $$ BEGIN EXECUTE format('DELETE FROM %I','orders'); END $$
DO $$ DECLARE r record; BEGIN FOR r IN EXECUTE 'select email from customers' LOOP RAISE NOTICE '%', r.email; END LOOP; END $$
DO LANGUAGE plpgsql 'begin execute convert_from(decode(''64656c6574652066726f6d206f7264657273'',''hex''),''utf8''); end'
PREPARE p AS SELECT email FROM customers; EXECUTE p
PREPARE p(int) AS DELETE FROM orders WHERE id=$1; EXECUTE p(10)
PREPARE p AS SELECT email FROM customers; CREATE TEMP TABLE z AS EXECUTE p; TABLE z
DECLARE c CURSOR FOR SELECT email FROM customers; FETCH ALL c
DECLARE c CURSOR FOR SELECT email FROM customers; FETCH 1 c; MOVE 1 c; DELETE FROM customers WHERE CURRENT OF c
EXPLAIN ANALYZE DELETE FROM orders
EXPLAIN (ANALYZE, VERBOSE) SELECT email FROM customers
EXPLAIN (ANALYZE true) WITH d AS (DELETE FROM orders RETURNING *) SELECT * FROM d
WITH d AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM d
WITH u AS (UPDATE customers SET email=email RETURNING email) SELECT email FROM u
WITH RECURSIVE t(e,n) AS (SELECT email,1 FROM customers UNION ALL SELECT e,n+1 FROM t WHERE n<1) SELECT e FROM t
SELECT nextval('s')
LOCK TABLE customers IN ACCESS EXCLUSIVE MODE
SELECT pg_advisory_lock(1)
COPY customers(email) TO STDOUT WITH (FORMAT csv, HEADER)
COPY (SELECT email FROM customers) TO STDOUT (FORMAT binary)
COPY (SELECT c FROM customers c) TO STDOUT
COPY customers FROM STDIN
COPY orders FROM STDIN WHERE id > 0
COPY customers TO PROGRAM 'cat > /var/tmp/x'
COPY customers TO '/var/tmp/stolen'
CREATE TEMP TABLE t(l text); COPY t FROM '/etc/passwd'; SELECT * FROM t LIMIT 1
SELECT pg_read_file('/etc/hostname')
SELECT pg_stat_file('postgresql.conf')
SELECT lo_import('/etc/hostname')
SELECT lo_from_bytea(0,'\\x41'::bytea)
SELECT data FROM pg_largeobject LIMIT 1
SELECT * FROM pg_read_binary_file('/etc/hostname')
SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL LIMIT 1
ALTER SYSTEM SET archive_command='touch /var/tmp/x'
CREATE EXTENSION plpython3u
CREATE FUNCTION c_system(cstring) RETURNS int AS '/lib/x86_64-linux-gnu/libc.so.6','system' LANGUAGE c STRICT
CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=5432 user=admin dbname=byp' PUBLICATION p WITH (create_slot=false, connect=false)
CREATE PUBLICATION p FOR TABLE customers
SELECT pg_create_logical_replication_slot('sl','test_decoding')
SELECT pg_terminate_backend(0), pg_reload_conf()
SELECT pg_notify('ch', (SELECT string_agg(email,',') FROM customers))
NOTIFY ch, 'x'
COMMENT ON TABLE orders IS 'x'; SELECT obj_description('orders'::regclass)
SECURITY LABEL ON TABLE customers IS 'x'
GRANT SELECT ON customers TO PUBLIC
REASSIGN OWNED BY gw TO ops
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC
CALL wipe()
SELECT EMAIL FROM CuStOmErS
SELECT U&"\\0065mail" FROM U&"\\0063ustomers"
SELECT U&"!0065mail" UESCAPE '!' FROM customers
SELECT 1; DELETE FROM orders; SELECT 2
;;; SELECT email FROM customers;;
SELECT email FROM byp.public.customers
SELECT email FROM ONLY (customers)
SELECT t.* FROM customers t TABLESAMPLE BERNOULLI(100)
SELECT email FROM pg_catalog.pg_class, customers LIMIT 1
SELECT a.* FROM (customers c JOIN orders o ON o.customer_id=c.id) a
SELECT format('%s', email) FROM customers
SELECT quote_literal(c) FROM customers c
SELECT concat_ws(',', c.*) FROM customers c
SELECT jsonb_path_query(to_jsonb(c),'$.email') FROM customers c
SELECT has_column_privilege('customers','email','select')
SELECT pg_get_viewdef('v_cust'), pg_get_functiondef('all_e'::regproc)
SELECT prosrc FROM pg_proc WHERE proname='all_e'
SHOW search_path
VACUUM customers
BEGIN; COMMIT AND CHAIN; ROLLBACK
DISCARD ALL
CLUSTER customers
TRUNCATE orders CASCADE
SELECT pg_export_snapshot()
SELECT txid_current()
SELECT email FROM customers WHERE id = 1 AND id IN (SELECT pg_backend_pid())
SELECT corr(id, length(email)) FROM customers
SELECT * FROM json_each_text((SELECT row_to_json(c) FROM customers c LIMIT 1))
SELECT c.row_to_json FROM customers c
SELECT c.lk FROM customers c
SELECT customers.hstore FROM customers
SELECT (SELECT c).email FROM customers c
SELECT x FROM customers, LATERAL unnest(ARRAY[email]) x
SELECT greatest(email,''), xmlelement(name a, email), xmlforest(email), jsonb_build_object('e',email) FROM customers
SELECT json_object('e' VALUE email) FROM customers
SELECT b.email FROM (WITH customers AS (SELECT 1) SELECT * FROM customers) a, customers b
WITH customers AS (SELECT 1 AS email) SELECT email FROM customers
SELECT generate_series(1,ascii(email)) FROM customers WHERE id=1
SELECT g FROM generate_series(1,2) g TABLESAMPLE BERNOULLI(1)
SELECT setval('seq1', (SELECT ascii(email) FROM customers WHERE id=1)); SELECT last_value FROM seq1
UPDATE customers SET id=NULL WHERE id=1
CREATE UNIQUE INDEX ON customers((1)); SELECT 1
CREATE INDEX ON customers (email); SELECT * FROM bt_page_items('customers_email_idx',1)
SELECT t_data FROM heap_page_items(get_raw_page('customers',0)) LIMIT 1
ALTER TABLE customers ADD CHECK (email::int > 0)
SELECT id FROM customers c WHERE c = ROW(1,'Ann','ann@example.com','111-22-3333','DE')::customers
SELECT id FROM customers c WHERE (c.id, c.email) > (1,'a')
SELECT g.email FROM (VALUES ('ann@example.com'),('zed@example.com')) g(email) JOIN customers USING (email)
SELECT count(*) FILTER (WHERE email LIKE 'a%') FROM customers
SELECT bool_or(email LIKE 'a%') FROM customers
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY email) FROM customers
SELECT count(*) FROM customers GROUP BY left(email,1) HAVING left(email,1)='a'
SELECT email IS NOT NULL, email IN ('ann@example.com'), email = ANY(ARRAY['ann@example.com']) FROM customers
SELECT 'x\\'; DELETE FROM orders; --'
SET client_encoding='SJIS'; SELECT 1
SET NAMES 'BIG5'
SET debug_print_parse=on
SELECT name FROM customers; SELECT email AS name FROM customers
SELECT name, email AS name FROM customers
CREATE FUNCTION rc() RETURNS refcursor LANGUAGE plpgsql AS $$DECLARE r refcursor := 'cc'; BEGIN OPEN r FOR EXECUTE 'select email from customers'; RETURN r; END$$; SELECT rc(); FETCH ALL FROM cc
CREATE PROCEDURE pr() LANGUAGE plpgsql AS $$BEGIN DELETE FROM orders; END$$; CALL pr()
CREATE FUNCTION sd() RETURNS int LANGUAGE sql BEGIN ATOMIC; DELETE FROM orders; SELECT 1; END; SELECT sd()
CREATE CAST (customers AS jsonb) WITH FUNCTION to_jsonb(anyelement)
CREATE POLICY p ON customers USING (true)
ALTER TABLE customers DISABLE ROW LEVEL SECURITY
SET TRANSACTION READ WRITE
BEGIN READ WRITE
ROLLBACK; BEGIN; DELETE FROM orders; COMMIT; BEGIN
PREPARE TRANSACTION 'x'
EXECUTE nope
FETCH ALL FROM nope
COPY customers (id, email) TO STDOUT WITH (DELIMITER 'e')
COPY v_cust TO STDOUT
COPY (TABLE v_cust) TO STDOUT
COPY (EXECUTE p) TO STDOUT
SELECT * FROM pg_settings WHERE name='ssl_key_file'
SELECT * FROM information_schema.columns WHERE column_name='email' LIMIT 1
SELECT pg_catalog.lower(email), "pg_catalog"."lower"(email) FROM customers
SELECT public.lower(email) FROM customers
CREATE FUNCTION public.lower(text, int DEFAULT 0) RETURNS text LANGUAGE sql AS 'select $1'; SET search_path=public,pg_catalog; SELECT lower(email) FROM customers
SELECT orders.email FROM customers AS orders, orders AS customers
SELECT (array_agg(email))[1], (array_agg(c))[1].email FROM customers c
SELECT lag(email) OVER (ORDER BY id), nth_value(email,1) OVER () FROM customers
SELECT * FROM (SELECT * FROM customers) AS x(a,b,c,d,e)
SELECT * FROM customers c1 FULL JOIN customers c2 USING (id, email)
SELECT email FROM customers EXCEPT SELECT 'q'
SELECT DISTINCT ON (email) id FROM customers ORDER BY email
SELECT id FROM customers GROUP BY GROUPING SETS ((id,email))
DELETE FROM customers WHERE email LIKE 'zzz%'
INSERT INTO orders SELECT 100+id, id, ascii(email) FROM customers RETURNING total
MERGE INTO orders o USING customers c ON c.email LIKE 'a%' AND o.customer_id=c.id WHEN MATCHED THEN UPDATE SET total=0
SELECT * FROM customers WHERE id=$1
SELECT lo_export(1,'/var/tmp/x')
SELECT * FROM pg_logical_slot_peek_changes('sl',NULL,NULL)
