#!/bin/sh
# Installs the servers and the browser that the tests use, where that is possible: on Debian and its kin,
# as root; what comes from npm, on Linux. Elsewhere it names what is missing. It never fails a run: tests of
# what is missing are skipped.
#
#   install-engines.sh           installs what is missing
#   install-engines.sh --check   names what is missing; that is a failure with REQUIRE_ENGINES=1

engines=$(cd "$(dirname "$0")/.." && pwd)/.engines
# Speaks the protocol of MongoDB. It exists for one platform only, so package.json cannot name it.
jongodb=@jongodb/memory-server-bin-linux-x64-gnu

missing=''
need () { # program, package
  for place in "$engines/bin" $(echo "$PATH" | tr ':' ' ') /usr/sbin /usr/local/sbin /usr/lib/postgresql/*/bin; do
    [ -x "$place/$1" ] && return
  done
  missing="$missing $2"
}

look () {
  missing=''
  need redis-server redis-server
  need memcached memcached
  need mariadbd mariadb-server-core
  need mariadb-install-db mariadb-server-core
  need mariadb mariadb-client-core
  need postgres postgresql
  need chromium chromium
  need java default-jdk-headless
  need javac default-jdk-headless
  need jongodb "$jongodb"
}

from_npm () {
  case "$missing" in *"$jongodb"*) ;; *) return ;; esac
  [ "$(uname -sm)" = 'Linux x86_64' ] || return
  mkdir -p "$engines/bin"
  npm install --prefix "$engines" --no-save --no-audit --no-fund "$jongodb@0.1.6" > /dev/null 2>&1 &&
    ln -sf "../node_modules/$jongodb/bin/jongodb" "$engines/bin/jongodb"
}

look
if [ "$1" != --check ]; then
  from_npm
  look
fi
[ -z "$missing" ] && exit 0

if [ "$1" = --check ]; then
  echo "engines that are not installed, so that their tests were skipped:$missing" >&2
  [ "$REQUIRE_ENGINES" != 1 ]
  exit
fi

if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
  echo "engines that are not installed, so that their tests will be skipped:$missing" >&2
  exit 0
fi

# The packages must neither start a service nor make a first database: the tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod +x "$policy" && trap 'rm -f "$policy"' EXIT
fi
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
  mkdir -p /etc/postgresql-common
  echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
fi

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
apt-get update -q > "$log" 2>&1
for package in $missing; do
  [ "$package" = "$jongodb" ] && continue
  apt-get install -y -q --no-install-recommends -o Dpkg::Options::=--force-confold "$package" \
    >> "$log" 2>&1 || { echo "could not install $package:"; tail -n 3 "$log"; } >&2
done
rm -f "$log"
look
[ -n "$missing" ] && echo "engines that are not installed, so that their tests will be skipped:$missing" >&2
exit 0
