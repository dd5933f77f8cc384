#!/bin/sh
# Prints the cargo options for this machine: SQLite from source where the system's header files are missing.
set -eu
if ! pkg-config --exists sqlite3 2>/dev/null; then
    echo "--features bundled"
fi
