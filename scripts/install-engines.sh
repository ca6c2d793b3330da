#!/bin/sh
# Installs the servers and the browser that the tests use, where that is possible: on Debian and its kin,
# as root. Elsewhere it names what is missing. It never fails a run: tests of what is missing are skipped.
#
#   install-engines.sh           installs what is missing
#   install-engines.sh --check   names what is missing; that is a failure with REQUIRE_ENGINES=1

missing=''
need () { # program, Debian package
  for place in $(echo "$PATH" | tr ':' ' ') /usr/sbin /usr/local/sbin /usr/lib/postgresql/*/bin; do
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
}

look
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
  apt-get install -y -q --no-install-recommends -o Dpkg::Options::=--force-confold "$package" \
    >> "$log" 2>&1 || { echo "could not install $package:"; tail -n 3 "$log"; } >&2
done
rm -f "$log"
look
[ -n "$missing" ] && echo "engines that are not installed, so that their tests will be skipped:$missing" >&2
exit 0
