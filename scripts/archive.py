"""Packs the files of a folder into a .tar.gz whose bytes depend only on them and on a given time.

Usage: archive.py ARCHIVE FOLDER SECONDS. SECONDS is the time that every file gets, in seconds since 1970.
"""

import gzip
import io
import pathlib
import struct
import sys
import tarfile


def content_of(path, seconds):
    """Returns the bytes of a file. A program for Windows states when it was linked: there, too, it gets that time."""
    content = bytearray(path.read_bytes())
    if path.suffix == ".exe":
        (header,) = struct.unpack_from("<I", content, 0x3C)
        if content[header : header + 4] != b"PE\0\0":
            sys.exit(f"{path} is not a Windows program")
        struct.pack_into("<I", content, header + 8, seconds)
    return bytes(content)


def main():
    archive, folder, seconds = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    with open(archive, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=seconds) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path in sorted(folder.iterdir()):
                entry = tarfile.TarInfo(path.name)
                content = content_of(path, seconds)
                entry.size, entry.mtime = len(content), seconds
                entry.mode = 0o755 if path.name.startswith("pulumi-resource-") else 0o644
                tar.addfile(entry, io.BytesIO(content))


main()
