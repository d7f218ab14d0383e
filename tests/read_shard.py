"""Reads a token file. Written from train/data/README.md alone, with Python's standard library only.

usage: read_shard.py FILE...    checks everything the page says, and prints a JSON object for each file: its header and,
                                for each document, its tokens
"""
import json
import struct
import sys
import zlib
from array import array

MAGIC = bytes([0x93, 0x54, 0x41, 0x4C, 0x4C, 0x59, 0x1A, 0x0A])
BLOCK = 1048576


def tokens_of(code, data):
    values = array(code)
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()


def read_llmc(data):
    header = struct.unpack("<256i", data[:1024])
    width = {(20240520, 1): 2, (20240801, 7): 4}[header[0], header[1]]
    assert not any(header[3:])
    assert len(data) == 1024 + width * header[2]
    return {"version": header[1], "tokens": tokens_of("H" if width == 2 else "I", data[1024:])}


def read_tally(data):
    version, width, n, d, vocabulary, text_bytes, end, block, sums_crc, zero = struct.unpack("<IIQQQQiIII", data[8:64])
    assert version == 1 and width == (2 if vocabulary <= 65536 else 4) and block == BLOCK and zero == 0
    fingerprint, padding = data[64:128].split(b"\0", 1)
    assert not any(padding) and not any(data[128:1020])
    assert zlib.crc32(data[:1020]) == struct.unpack("<I", data[1020:1024])[0]
    tokens = tokens_of("H" if width == 2 else "I", data[1024 : 1024 + n * width])
    offsets_at = 1024 + (n * width + 7) // 8 * 8
    sums_at = offsets_at + 8 * d
    assert not any(data[1024 + n * width : offsets_at])
    offsets = struct.unpack("<%dQ" % d, data[offsets_at:sums_at])
    blocks = [data[at : min(at + BLOCK, sums_at)] for at in range(1024, sums_at, BLOCK)]
    assert data[sums_at:] == b"".join(struct.pack("<I", zlib.crc32(b)) for b in blocks)
    assert zlib.crc32(data[sums_at:]) == sums_crc
    assert all(t < vocabulary for t in tokens)
    assert d == 0 or offsets[0] == 0
    ends = list(offsets[1:]) + [n]
    assert all(a < b for a, b in zip(offsets, ends))
    documents = [tokens[a:b] for a, b in zip(offsets, ends)]
    assert end == -1 or all(x[-1] == end for x in documents)
    return {"vocabulary": vocabulary, "end_of_text": end, "fingerprint": fingerprint.decode(), "text_bytes": text_bytes,
            "documents": documents}


def read(path):
    with open(path, "rb") as f:
        data = f.read()
    return read_tally(data) if data[:8] == MAGIC else read_llmc(data)


if __name__ == "__main__":
    for path in sys.argv[1:]:
        print(json.dumps(read(path)))
