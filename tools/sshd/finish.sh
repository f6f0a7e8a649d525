#!/usr/bin/env bash
# OpenSSH's server: the machine's, else Debian's, unpacked and not installed,
# because installing the package starts a server for everybody.
set -euo pipefail

dir=$1
mkdir -p "$dir/bin"
PATH=$PATH:/usr/sbin:/usr/local/sbin
if sshd=$(command -v sshd); then
	ln -s "$sshd" "$dir/bin/sshd"
	exit 0
fi
cd "$dir"
packages=(openssh-server libwrap0) # what else it needs comes with every Debian
apt-get -qq download "${packages[@]}" || { apt-get -qq update && apt-get -qq download "${packages[@]}"; }
for deb in *.deb; do
	dpkg-deb --extract "$deb" root
done
rm ./*.deb
cat >bin/sshd <<'SH'
#!/bin/sh
root=$(dirname "$0")/../root
export LD_LIBRARY_PATH=$(echo "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu | tr ' ' :)
exec "$(readlink -f "$root")/usr/sbin/sshd" "$@"
SH
chmod +x bin/sshd
bin/sshd -V
