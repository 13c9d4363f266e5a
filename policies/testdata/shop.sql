-- The database of the examples in docs/packs.
CREATE TABLE customers (id int PRIMARY KEY, first_name text, last_name text, email text, phone text, date_of_birth date, religion text, plan text);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers(id), total numeric, note text);
CREATE TABLE payments (id int PRIMARY KEY, order_id int REFERENCES orders(id), card_number text, cardholder text, cvv text, amount numeric);
CREATE VIEW contacts AS SELECT id, email AS contact FROM customers;
CREATE SCHEMA hr;
CREATE TABLE hr.staff (id int PRIMARY KEY, full_name text, salary numeric, health_insurance text);
CREATE FUNCTION purge() RETURNS void LANGUAGE sql AS 'DELETE FROM orders';
