"""Packs the files of a folder into a .tar.gz whose bytes depend on nothing else.

Usage: archive.py ARCHIVE FOLDER SECONDS, the time that every file gets, in seconds since 1970.
"""

import gzip
import pathlib
import sys
import tarfile


def main():
    archive, folder, seconds = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    with open(archive, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=seconds) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path in sorted(folder.iterdir()):
                entry = tarfile.TarInfo(path.name)
                entry.size, entry.mtime = path.stat().st_size, seconds
                entry.mode = 0o755 if path.name.startswith("pulumi-resource-") else 0o644
                with path.open("rb") as content:
                    tar.addfile(entry, content)


main()
