--
-- PostgreSQL database dump
--

\restrict lZtGkTeN9MxCz2wv1eAJRuUaN59wOR9W5ZOLhdNQE7eiJ1h5TAzsRSgLepIp7tq

-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: empty; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.empty (
);


ALTER TABLE public.empty OWNER TO postgres;

--
-- Name: t; Type: TABLE; Schema: public; Owner: shop
--

CREATE TABLE public.t (
    id integer NOT NULL,
    n text
);


ALTER TABLE public.t OWNER TO shop;

--
-- Name: v; Type: VIEW; Schema: public; Owner: postgres
--

CREATE VIEW public.v AS
 SELECT id,
    n
   FROM public.t;


ALTER VIEW public.v OWNER TO postgres;

--
-- Data for Name: empty; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.empty  FROM stdin;
\.


--
-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: shop
--

COPY public.t (id, n) FROM stdin;
1	c4ca4238a0b923820dcc509a6f75849b
2	c81e728d9d4c2f636f067f89cc14862c
3	eccbc87e4b5ce2fe28308fd9f2a7baf3
4	a87ff679a2f3e71d9181a67b7542122c
5	e4da3b7fbbce2345d7772b0674a318d5
6	1679091c5a880faf6fb5e6087eb1b2dc
7	8f14e45fceea167a5a36dedd4bea2543
8	c9f0f895fb98ab9159f51fd0297e236d
9	45c48cce2e2d7fbdea1afc51c7c6ad26
10	d3d9446802a44259755d38e6d163e820
11	6512bd43d9caa6e02c990b0a82652dca
12	c20ad4d76fe97759aa27a0c99bff6710
13	c51ce410c124a10e0db5e4b97fc2af39
14	aab3238922bcc25a6f606eb525ffdc56
15	9bf31c7ff062936a96d3c8bd1f8f2ff3
16	c74d97b01eae257e44aa9d5bade97baf
17	70efdf2ec9b086079795c442636b55fb
18	6f4922f45568161a8cdf4ad2299f6d23
19	1f0e3dad99908345f7439f8ffabdffc4
20	98f13708210194c475687be6106a3b84
\.


--
-- Name: 16398; Type: BLOB METADATA; Schema: -; Owner: postgres
--

SELECT pg_catalog.lo_create('16398');

ALTER LARGE OBJECT 16398 OWNER TO postgres;

--
-- Data for Name: 16398; Type: BLOBS; Schema: -; Owner: postgres
--

BEGIN;

SELECT pg_catalog.lo_open('16398', 131072);
SELECT pg_catalog.lowrite(0, '\x6c61726765');
SELECT pg_catalog.lo_close(0);

COMMIT;

--
-- Name: t t_pkey; Type: CONSTRAINT; Schema: public; Owner: shop
--

ALTER TABLE ONLY public.t
    ADD CONSTRAINT t_pkey PRIMARY KEY (id);


--
-- PostgreSQL database dump complete
--

\unrestrict lZtGkTeN9MxCz2wv1eAJRuUaN59wOR9W5ZOLhdNQE7eiJ1h5TAzsRSgLepIp7tq

