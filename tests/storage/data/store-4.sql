BEGIN TRANSACTION;
CREATE TABLE "answers" (number integer primary key, key blob not null, value blob not null);
INSERT INTO "answers" VALUES(1,X'82AF27C64245BFD15A520134B44E6BB1',X'7B2274657874223A22C3A9227D');
CREATE TABLE answers_index (
                      prefix blob not null, number integer not null, primary key (prefix, number)) without rowid;
INSERT INTO "answers_index" VALUES(X'82AF27C64245BFD1',1);
CREATE TABLE answers_size (bytes integer not null);
INSERT INTO "answers_size" VALUES(13);
CREATE TABLE batch_rows (
             run integer not null references runs, row integer not null, failed integer not null, record blob not null,
             primary key (run, row)) without rowid;
INSERT INTO "batch_rows" VALUES(1,1,0,X'7801AB56CA2F2D29282D51B2524ACFCF4F51AA050038240615');
CREATE TABLE calls (number integer primary key, run integer not null references runs, call text not null);
INSERT INTO "calls" VALUES(1,1,'{"name":"vanilla"}');
CREATE TABLE cases (
             target text not null, name text not null, record text not null,
             primary key (target, name)) without rowid;
INSERT INTO "cases" VALUES('feedback','mixed','{"output":1}');
CREATE TABLE cells (
             number integer primary key, key blob not null, failed integer not null, outcome blob not null);
INSERT INTO "cells" VALUES(1,X'27C35E6E9373877F29E562464E46497E',0,X'7B226F7574707574223A22676F6F64222C22666C6167223A22227D');
INSERT INTO "cells" VALUES(2,X'0DF333348BB2C4F0605E010B6706F5BB',0,X'7B226F7574707574223A6E756C6C2C22666C6167223A22756E706172736564227D');
INSERT INTO "cells" VALUES(3,X'96172B4C53372CD10FADDC821BFE0318',1,X'7B226F7574707574223A6E756C6C2C22666C6167223A226572726F72227D');
CREATE TABLE cells_index (
                      prefix blob not null, number integer not null, primary key (prefix, number)) without rowid;
INSERT INTO "cells_index" VALUES(X'0DF333348BB2C4F0',2);
INSERT INTO "cells_index" VALUES(X'27C35E6E9373877F',1);
INSERT INTO "cells_index" VALUES(X'96172B4C53372CD1',3);
CREATE TABLE claims (key blob primary key, owner integer not null) without rowid;
INSERT INTO "claims" VALUES(X'CAEC17F4B8159D486CA352209A0FC2D5',7);
CREATE TABLE "data_rows" (number integer primary key, key blob not null, fields blob not null);
INSERT INTO "data_rows" VALUES(1,X'3F072509EB373BE6A0AA5AB00B349F10',X'7B2274657874223A22C3A9222C22657870656374223A22676F6F64227D');
CREATE TABLE data_rows_index (
                      prefix blob not null, number integer not null, primary key (prefix, number)) without rowid;
INSERT INTO "data_rows_index" VALUES(X'3F072509EB373BE6',1);
CREATE TABLE indexed (source text primary key, last integer not null) without rowid;
INSERT INTO "indexed" VALUES('answers',1);
INSERT INTO "indexed" VALUES('cells',3);
INSERT INTO "indexed" VALUES('data_rows',1);
CREATE TABLE owners (number integer primary key, pid integer not null, host text not null, seen real);
INSERT INTO "owners" VALUES(7,4242,'elsewhere',1795542600.5);
CREATE TABLE run_cells (
             run integer not null references runs, row integer not null, variant integer not null,
             repeat integer not null, cell integer not null references cells,
             row_number integer not null references data_rows, scores blob not null,
             primary key (run, row, variant, repeat)) without rowid;
INSERT INTO "run_cells" VALUES(2,1,0,0,1,1,X'7B226163637572616379223A5B312E302C7B7D2C22225D7D');
INSERT INTO "run_cells" VALUES(2,1,1,0,3,1,X'7B226163637572616379223A5B6E756C6C2C7B7D2C2262757379225D7D');
INSERT INTO "run_cells" VALUES(2,2,0,0,2,1,X'7B226163637572616379223A5B302E302C7B7D2C22225D7D');
CREATE TABLE run_variants (
             run integer not null references runs, number integer not null, name text not null,
             primary key (run, number)) without rowid;
INSERT INTO "run_variants" VALUES(2,0,'short');
INSERT INTO "run_variants" VALUES(2,1,'thinking');
CREATE TABLE running (run integer primary key references runs, owner integer not null);
INSERT INTO "running" VALUES(2,7);
CREATE TABLE runs (
             number integer primary key autoincrement, kind text not null, target text not null, status text not null,
             model text not null, inputs text not null, started real not null, ended real, record text not null);
INSERT INTO "runs" VALUES(1,'run','feedback','done','{"reference":"scripted:x.yaml"}','{"text":"\u00e9"}',1795542517.82357,1.79554251782432150843e+09,'{"output":{"mood":"good"}}');
INSERT INTO "runs" VALUES(2,'eval','sentiment','running','{"reference":"scripted:x.yaml"}','{"rows":2}',1.79556825558822870251e+09,NULL,'{"rows":2}');
CREATE TABLE scores (
             cell integer not null references cells, metric blob not null, score blob not null,
             primary key (cell, metric)) without rowid;
INSERT INTO "scores" VALUES(1,X'3C0C534174ACDF4348537197A644B404',X'5B302E352C7B7D2C22225D');
CREATE TABLE splits (suite text primary key, salt integer not null, share real not null) without rowid;
INSERT INTO "splits" VALUES('evals/sentiment.yaml',3,0.6);
CREATE TABLE traces (cell integer primary key references cells, trace blob not null, like integer);
INSERT INTO "traces" VALUES(1,X'7B226E616D65223A226D6F6F64222C2276616C7565223A22676F6F64227D',NULL);
INSERT INTO "traces" VALUES(2,X'1838966009BFABC6255B5AA2540B008C9F0966',1);
CREATE TABLE verdicts (
             rows blob not null, pair blob not null, ordinal integer not null,
             primary key (rows, pair)) without rowid;
INSERT INTO "verdicts" VALUES(X'01',X'02',1);
CREATE INDEX calls_by_run on calls (run);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',2);
COMMIT;
PRAGMA user_version = 4;
