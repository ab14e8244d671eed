BEGIN TRANSACTION;
CREATE TABLE answers (key text primary key, value blob not null, used integer not null);
INSERT INTO "answers" VALUES('key',X'7B2274657874223A22C3A9227D',1795542517);
CREATE TABLE answers_size (bytes integer not null);
INSERT INTO "answers_size" VALUES(13);
CREATE TABLE calls (number integer primary key, run integer not null references runs, call text not null);
INSERT INTO "calls" VALUES(1,1,'{"name":"vanilla"}');
CREATE TABLE cases (
             target text not null, name text not null, record text not null,
             primary key (target, name)) without rowid;
INSERT INTO "cases" VALUES('feedback','mixed','{"output":1}');
CREATE TABLE runs (
             number integer primary key autoincrement, kind text not null, target text not null, status text not null,
             model text not null, inputs text not null, started real not null, ended real, record text not null);
INSERT INTO "runs" VALUES(1,'run','feedback','done','{"reference":"scripted:x.yaml"}','{"text":"\u00e9"}',1795542517.82357,1.79554251782432150843e+09,'{"output":{"mood":"good"}}');
CREATE INDEX answers_by_use on answers (used);
CREATE TRIGGER answer_added after insert on answers begin
             update answers_size set bytes = bytes + length(new.value); end;
CREATE TRIGGER answer_removed after delete on answers begin
             update answers_size set bytes = bytes - length(old.value); end;
CREATE TRIGGER answer_replaced after update of value on answers begin
             update answers_size set bytes = bytes + length(new.value) - length(old.value); end;
CREATE INDEX calls_by_run on calls (run);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',1);
COMMIT;
PRAGMA user_version = 1;
