# Installs the named Debian packages, as root, without starting the services they bring.
set -eu
export DEBIAN_FRONTEND=noninteractive

# A package asks this file whether its service may start; 101 means no. One that is there already
# is the administrator's, and stays as it is.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

set -x
# The second try takes what it gets: a broken list of another vendor is no reason to stop.
apt-get update -o APT::Update::Error-Mode=any || apt-get update
apt-get install -y --no-install-recommends "$@"
