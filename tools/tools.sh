#!/usr/bin/env bash
# Installs the pinned tools and test counterparts, each in a folder below this
# one that holds nothing but what pins it. README.md tells how to add one.
#
#   tools.sh install [NAME...]   install what is not there yet (all by default)
#   tools.sh path NAME           print where NAME is installed; 1 when it is not
#   tools.sh list                name, installed or not, MB, folder
#
# What a folder may hold decides how it is installed, in this order:
#   apt.txt            Debian packages, by apt, as root only
#   go.mod             the module's tools (`tool` lines), into bin/
#   requirements.txt   a Python virtual environment of exactly these versions
#   package-lock.json  npm packages of exactly these versions, whose own install
#                      scripts do not run
#   finish.sh          run last, with the installed folder as its argument
#
# Everything but the Debian packages lands in AIWATCH_TOOLS (by default
# ~/.cache/aiwatch-tools) under NAME-KEY. KEY is a hash over the folder's files,
# the machine's architecture and the compiler's or interpreter's version: a
# changed pin is another folder, and clones of any age share one cache. The file
# .complete is made last, so a folder without it is an install cut short and is
# made anew. A lock for each folder keeps two installs apart. Two lanes work side
# by side: compiling keeps the cores busy while the other one downloads.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${AIWATCH_TOOLS:-${HOME:?set HOME or AIWATCH_TOOLS}/.cache/aiwatch-tools}

say() { printf 'tools: %s\n' "$*" >&2; }

names() { (cd "$here" && for d in */; do printf '%s\n' "${d%/}"; done); }

# key NAME: what NAME would be installed as now.
key() {
	{
		uname -sm
		if [[ -f $here/$1/go.mod ]]; then go env GOVERSION GOOS GOARCH; fi
		if [[ -f $here/$1/requirements.txt ]]; then python3 -c 'import sys; print(sys.version, sys.prefix)'; fi
		if [[ -f $here/$1/package-lock.json ]]; then node --version || true; fi
		cd "$here/$1" && find -L . -type f ! -name '*_test.go' ! -name README.md | LC_ALL=C sort | xargs sha256sum
	} | sha256sum | cut -c1-12
}

folder() { printf '%s/%s-%s\n' "$cache" "$1" "$(key "$1")"; }

# debian_absent NAME: the Debian packages of NAME that this machine lacks. A
# command of a package's name will do, wherever it came from.
debian_absent() {
	[[ -f $here/$1/apt.txt ]] || return 0
	local package
	while read -r package; do
		command -v "$package" >/dev/null ||
			[[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || printf '%s ' "$package"
	done <"$here/$1/apt.txt"
}

# installed NAME DIR
installed() { [[ -f $2/.complete && -z $(debian_absent "$1") ]]; }

install_debian() {
	local absent apt
	read -ra absent < <(debian_absent "$1"; echo)
	[[ ${#absent[@]} -gt 0 ]] || return 0
	if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
		printf 'needs %s: Debian packages, which only root with apt can install\n' "${absent[*]}"
		return 1
	fi
	apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300)
	"${apt[@]}" install --no-install-recommends "${absent[@]}" ||
		{ "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "${absent[@]}"; }
}

# build NAME DIR: installs what the folder pins into the empty DIR.
build() {
	local name=$1 dir=$2
	if [[ -f $here/$name/go.mod ]]; then
		# Outside any workspace, and without asking git about the clone.
		(cd "$here/$name" && GOWORK=off GOFLAGS=-buildvcs=false GOBIN=$dir/bin go install tool)
	fi
	if [[ -f $here/$name/requirements.txt ]]; then
		python3 -m venv "$dir"
		"$dir/bin/python" -m pip install --quiet --disable-pip-version-check \
			--requirement "$here/$name/requirements.txt"
	fi
	if [[ -f $here/$name/package-lock.json ]]; then
		(cd "$here/$name" && cp package.json package-lock.json .npmrc "$dir")
		(cd "$dir" && npm ci --ignore-scripts --no-progress --no-update-notifier)
	fi
	if [[ -f $here/$name/finish.sh ]]; then
		bash "$here/$name/finish.sh" "$dir"
	fi
}

install_one() {
	local name=$1 dir said started=$SECONDS
	if [[ ! -d $here/$name ]]; then
		say "$name: no such tool; there are: $(names | tr '\n' ' ')"
		return 1
	fi
	# First of all: the interpreter whose version is in the key may come with it.
	if ! said=$(install_debian "$name" 2>&1); then
		say "$name: $said"
		return 1
	fi
	dir=$(folder "$name")
	if installed "$name" "$dir"; then return 0; fi
	mkdir -p "$cache"
	(
		flock 9
		if installed "$name" "$dir"; then exit 0; fi
		say "$name: installing"
		rm -rf "$dir"
		mkdir "$dir"
		# A process of its own: a function whose status is tested runs without -e.
		if ! bash "$here/tools.sh" build "$name" "$dir" >"$dir.log" 2>&1; then
			say "$name: failed after $((SECONDS - started)) s; the end of $dir.log:"
			tail -n 25 "$dir.log" >&2
			exit 1
		fi
		touch "$dir/.complete"
		say "$name: installed in $((SECONDS - started)) s, $(du -sm "$dir" | cut -f1) MB"
	) 9>"$dir.lock"
}

# lane NAME...: one after the other; all are tried.
lane() {
	local name rc=0
	for name; do install_one "$name" || rc=1; done
	return $rc
}

install() {
	local name compiled=() others=() rc=0
	for name in ${*:-$(names)}; do
		if [[ -f $here/$name/go.mod ]]; then compiled+=("$name"); else others+=("$name"); fi
	done
	lane "${others[@]}" &
	lane "${compiled[@]}" || rc=1
	wait $! || rc=1
	return $rc
}

case ${1-} in
install)
	shift
	install "$@"
	;;
build) # for install alone
	build "$2" "$3"
	;;
path)
	dir=$(folder "${2:?tools.sh path NAME}")
	if ! installed "$2" "$dir"; then
		say "$2 is not installed: run tools/tools.sh install $2"
		exit 1
	fi
	printf '%s\n' "$dir"
	;;
list)
	for name in $(names); do
		dir=$(folder "$name")
		if installed "$name" "$dir"; then
			printf '%-12s installed %5s MB  %s\n' "$name" "$(du -sm "$dir" | cut -f1)" "$dir"
		else
			printf '%-12s absent\n' "$name"
		fi
	done
	;;
*)
	sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
	exit 2
	;;
esac
