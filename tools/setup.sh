#!/usr/bin/env bash
# setup.sh demo|test: installs the Debian packages that the demo or the tests
# need. Without root it prints the one line to run, and what will be missing.
set -euo pipefail

declare -A gives=(
	[restic]="restic repositories"
	[initdb]="a PostgreSQL server"
	[pg_dump]="PostgreSQL dumps"
	[tmux]="the console in a terminal"
	[smartctl]="SMART of real disks"
	[mkfs.ext4]="file systems on loop devices"
	[losetup]="file systems on loop devices"
	[mkfs.xfs]="XFS on loop devices"
	[gcc]="the race detector"
	[python3]="the terminal harness"
	[zstd]="compressed dumps" [lz4]="compressed dumps" [xz]="compressed dumps" [bzip2]="compressed dumps"
	[pgbackrest]="a pgBackRest repository" [barman]="a Barman server" [rsync]="restores of Barman"
)
declare -A package=(
	[restic]=restic [initdb]=postgresql [pg_dump]=postgresql-client [tmux]=tmux [smartctl]=smartmontools
	[mkfs.ext4]=e2fsprogs [losetup]=mount [mkfs.xfs]=xfsprogs [gcc]="gcc libc6-dev" [python3]=python3-minimal
	[zstd]=zstd [lz4]=lz4 [xz]=xz-utils [bzip2]=bzip2 [pgbackrest]=pgbackrest [barman]=barman [rsync]=rsync
)
case ${1:-} in
demo) programs=(restic initdb pg_dump mkfs.ext4 losetup) ;;
test) programs=(restic initdb pg_dump mkfs.ext4 losetup tmux smartctl mkfs.xfs gcc python3 zstd lz4 xz bzip2 pgbackrest barman rsync) ;;
*) echo "usage: setup.sh demo|test" >&2; exit 64 ;;
esac

PATH=$PATH:/usr/sbin:/sbin
have() {
	command -v "$1" >/dev/null && return
	compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}
wanted=() lacking=()
for p in "${programs[@]}"; do
	have "$p" && continue
	read -ra names <<<"${package[$p]}"
	wanted+=("${names[@]}")
	lacking+=("$p (${gives[$p]})")
done
[ ${#wanted[@]} -eq 0 ] && exit 0

# Debian's PostgreSQL starts a cluster when it is installed. Where there was no
# PostgreSQL before, it must not leave one running.
quiet_postgres='mkdir -p /etc/postgresql-common && echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf'
needs_quiet() { [[ " ${wanted[*]} " == *" postgresql "* ]] && ! dpkg -s postgresql-common >/dev/null 2>&1; }
line="apt-get update && DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFOLD=1 apt-get install -y --no-install-recommends ${wanted[*]}"
if needs_quiet; then
	line="$quiet_postgres && $line -o Dpkg::Options::=--force-confold"
fi

if [ "$(id -u)" -ne 0 ]; then
	echo "Some packages are missing and only root can install them. Run this once:" >&2
	echo "  sudo sh -c '$line'" >&2
	echo "Without them, not available here:" >&2
	printf '  %s\n' "${lacking[@]}" >&2
	exit 0
fi
echo "installing ${wanted[*]} ..." >&2
log=$(mktemp)
if ! sh -c "$line" >"$log" 2>&1; then
	cat "$log" >&2
	rm -f "$log"
	exit 1
fi
rm -f "$log"
