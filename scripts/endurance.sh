#!/bin/sh
# The long forms of what tries to break it, for an hour or more: npm run endurance [-- files].
set -e
cd "$(dirname "$0")/.."
sh scripts/install-engines.sh
[ $# -gt 0 ] || set -- test/endurance/*.test.ts test/model.test.ts
ENDURANCE=1 npx tap run --disable-coverage --allow-incomplete-coverage --jobs=1 --timeout=7200 "$@"
