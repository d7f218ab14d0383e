"""Reads a TensorBoard event file with Python's standard library, from the description in train/bill/tensorboard.h alone. Prints a
JSON line for every event: wall_time, step, version, session, values {tag: float}. Fails at the first wrong crc or torn record."""
import json
import struct
import sys


def crc32c(data):  # bit by bit: slow, but nothing to get wrong
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        else:
            if kind == 2:
                size, at = varint(data, at)
            else:
                size = {1: 8, 5: 4}[kind]
            value, at = data[at:at + size], at + size
            assert len(value) == size
        yield key >> 3, value


def records(data):
    at = 0
    while at < len(data):
        size, crc = struct.unpack_from("<QI", data, at)
        assert crc == masked(data[at:at + 8]), "crc of a length"
        event = data[at + 12:at + 12 + size]
        assert struct.unpack_from("<I", data, at + 12 + size)[0] == masked(event), "crc of an event"
        yield event
        at += size + 16


def event(data):
    out = {"step": 0, "values": {}}
    for number, value in fields(data):
        if number == 1:
            out["wall_time"] = struct.unpack("<d", value)[0]
        elif number == 2:
            out["step"] = value
        elif number == 3:
            out["version"] = value.decode()
        elif number == 7:
            out["session"] = dict(fields(value))[1]
        elif number == 5:
            for _, item in fields(value):
                item = dict(fields(item))
                tag = item[1].decode()
                assert tag not in out["values"], tag
                out["values"][tag] = struct.unpack("<f", item[2])[0]
        else:
            raise AssertionError("field %d" % number)
    return out


assert crc32c(b"123456789") == 0xe3069283
for one in records(open(sys.argv[1], "rb").read()):
    print(json.dumps(event(one)))
