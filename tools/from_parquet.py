#!/usr/bin/env python3
"""Writes the rows of Parquet files as JSON lines to standard output, for `tally tokenize -`.

usage: from_parquet.py [--columns NAME,NAME...] FILE_OR_FOLDER...
  --columns    columns to write; without it, "text". Each must hold strings

A folder stands for the .parquet files in it and below it, in sorted order. A row group at a time is in memory. Rows in which
one of the columns is null are skipped and counted. The output is the same every time, so an interrupted `tally tokenize`
goes on when both are started again.

  from_parquet.py fineweb/ | tally tokenize - --tokenizer gpt2/ --out tokens
  from_parquet.py qa/ --columns question,answer | tally tokenize - --template 'Q: {question}\\nA: {answer}' --out tokens

Needs pyarrow (pip install pyarrow).
"""
import argparse
import json
import os
import sys

try:
    import pyarrow.parquet as parquet
    import pyarrow.types as types
except ImportError:
    sys.exit("from_parquet.py: Python's module pyarrow is missing; `pip install pyarrow` installs it")


def fail(message):
    print("from_parquet.py: " + message, file=sys.stderr)
    sys.exit(2)


def files_of(paths):
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        found = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names if name.endswith(".parquet")]
        if not found:
            fail("%s: found no .parquet file in this folder" % path)
        yield from sorted(found)


def check_columns(path, schema, columns):
    for name in columns:
        if name not in schema.names:
            fail('%s: found no column "%s" but %s; --columns names the columns' % (path, name, ", ".join(schema.names)))
        kind = schema.field(name).type
        if types.is_dictionary(kind):
            kind = kind.value_type
        if not (types.is_string(kind) or types.is_large_string(kind)):
            fail('%s: column "%s" holds %s, expected strings' % (path, name, kind))


def write_rows(path, columns, out):
    try:
        file = parquet.ParquetFile(path)
        check_columns(path, file.schema_arrow, columns)
        skipped = 0
        for batch in file.iter_batches(columns=columns, batch_size=1024):
            for row in batch.select(columns).to_pylist():
                if None in row.values():
                    skipped += 1
                    continue
                out.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        return skipped
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these kinds
        if isinstance(error, BrokenPipeError):
            raise
        fail("%s: %s" % (path, str(error).splitlines()[0]))


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][7:], add_help=False)
    parser.add_argument("--columns", default="text")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("paths", nargs="*")
    options = parser.parse_args()
    if options.help or not options.paths:
        print(__doc__.strip(), file=sys.stdout if options.help else sys.stderr)
        sys.exit(0 if options.help else 2)
    columns = options.columns.split(",")
    skipped = 0
    try:
        for path in files_of(options.paths):
            skipped += write_rows(path, columns, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more can be written at exit
        sys.exit(1)
    if skipped:
        print("from_parquet.py: skipped %d rows with a null" % skipped, file=sys.stderr)


if __name__ == "__main__":
    main()
