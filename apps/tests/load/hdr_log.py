"""Reads an HdrHistogram log (V2) with nothing but zlib and base64, and prints the percentiles of each tag as JSON.

It shares no code with what wrote the log: the format is that of HdrHistogram's V2 encoding, zigzag LEB128 counts in which a
negative one stands for that many empty ones.
"""

import base64
import json
import math
import struct
import sys
import zlib

V2, V2_COMPRESSED = 0x1C849303, 0x1C849304


def counts_of(payload):
    """Counts by index: values as zigzag LEB128, of at most nine bytes."""
    at, index, counts = 0, 0, {}
    while at < len(payload):
        shift = value = 0
        while True:
            byte = payload[at]
            at += 1
            if shift == 56:
                value |= byte << shift
                break
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte & 0x80 == 0:
                break
        value = (value >> 1) ^ -(value & 1)
        if value < 0:
            index -= value
        else:
            if value:
                counts[index] = value
            index += 1
    return counts


def decoded(text):
    """The lowest and the highest value of each count."""
    data = base64.b64decode(text)
    cookie, length = struct.unpack_from(">ii", data)
    if cookie & ~0xF0 == V2_COMPRESSED & ~0xF0:
        data = zlib.decompress(data[8 : 8 + length])
        cookie, length = struct.unpack_from(">ii", data)
    assert cookie & ~0xF0 == V2 & ~0xF0, hex(cookie)
    _, digits, lowest, _, _ = struct.unpack_from(">iiqqd", data, 8)
    counts = counts_of(data[40 : 40 + length])
    unit = int(math.floor(math.log2(lowest)))
    half_bits = int(math.ceil(math.log2(2 * 10**digits))) - 1
    half = 1 << half_bits
    highest = {}
    for index, count in counts.items():
        bucket, sub = (index >> half_bits) - 1, (index & (half - 1)) + half
        if bucket < 0:
            bucket, sub = 0, sub - half
        low = sub << (bucket + unit)
        highest[low + (1 << (bucket + unit)) - 1] = count
    return highest


def percentile(counts, percent):
    total = sum(counts.values())
    wanted = max(1, math.ceil(total * percent / 100 - 1e-9))
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= wanted:
            return value
    return None


def main():
    tags = {}
    for line in open(sys.argv[1], encoding="utf-8"):
        if line.startswith(("#", '"')):
            continue
        fields = line.strip().split(",")
        tag = fields.pop(0)[4:] if fields[0].startswith("Tag=") else ""
        sums = tags.setdefault(tag, {})
        for value, count in decoded(fields[3]).items():
            sums[value] = sums.get(value, 0) + count
    print(
        json.dumps(
            {
                tag: {
                    "samples": sum(counts.values()),
                    "p50_ns": percentile(counts, 50),
                    "p90_ns": percentile(counts, 90),
                    "p99_ns": percentile(counts, 99),
                }
                for tag, counts in tags.items()
            }
        )
    )


main()
