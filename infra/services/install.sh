#!/bin/sh
# Puts RabbitMQ and Redis on this machine from its own packages, for `headrace stack`; with --tests PostgreSQL too, which
# only the tests need. Instant when all is there. Headrace starts private nodes of its own, so the packages' system services are kept from
# starting now, and (under systemd) from starting at the next boot.
set -eu

say() { printf '%s\n' "$*"; }

has_rabbitmq() {
    [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || [ -x /opt/rabbitmq/sbin/rabbitmq-server ] ||
        [ -x /opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server ] || [ -x /usr/local/opt/rabbitmq/sbin/rabbitmq-server ] ||
        command -v rabbitmq-server >/dev/null 2>&1
}

has_redis() { command -v redis-server >/dev/null 2>&1 || command -v valkey-server >/dev/null 2>&1; }

has_postgresql() {
    command -v initdb >/dev/null 2>&1 && return 0
    for folder in /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin; do
        [ -x "$folder/initdb" ] && return 0
    done
    return 1
}

for_tests=""
case "${1:-}" in
--tests) for_tests="yes" ;;
"") ;;
*)
    say "usage: install.sh [--tests]"
    exit 2
    ;;
esac

names="RabbitMQ and Redis"
[ -n "$for_tests" ] && names="RabbitMQ, Redis and PostgreSQL"

ask_for() {
    say "$names: something is missing, and this script may not install it here. Type:"
    say "  $1"
    exit 1
}

packages=""
has_rabbitmq || packages="rabbitmq-server"
has_redis || packages="${packages:+$packages }redis-server"
[ -z "$for_tests" ] || has_postgresql || packages="${packages:+$packages }postgresql"
if [ -z "$packages" ]; then
    say "$names are installed."
    exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
    if command -v brew >/dev/null 2>&1; then ask_for "brew install rabbitmq redis${for_tests:+ postgresql}"; fi
    if command -v dnf >/dev/null 2>&1; then ask_for "sudo dnf install rabbitmq-server valkey${for_tests:+ postgresql-server}   # valkey stands in for redis"; fi
    if command -v pacman >/dev/null 2>&1; then ask_for "sudo pacman -S rabbitmq valkey${for_tests:+ postgresql}   # valkey stands in for redis"; fi
    if command -v zypper >/dev/null 2>&1; then ask_for "sudo zypper install rabbitmq-server redis${for_tests:+ postgresql-server}"; fi
    say "No package manager that this script knows: install RabbitMQ (3.10 or later) and Redis (6 or later) by hand."
    exit 1
fi

if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    ask_for "sudo apt-get update && sudo apt-get install -y --no-install-recommends $packages"
fi

# The packages ask this program whether they may start their services; 101 is no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    say "Installing $packages; their system services are not started."
    trap '$as_root rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
else
    say "Installing $packages; $policy decides whether their system services start."
fi

apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@"; }
if ! { apt update && apt install -y --no-install-recommends $packages; }; then
    say "apt-get could not install $packages: its own words are above."
    exit 1
fi

if [ -d /run/systemd/system ]; then
    # Only what this run installed: a service that was here before is somebody's.
    for package in $packages; do
        $as_root systemctl disable --now "$package.service" >/dev/null 2>&1 || true
        say "Disabled $package.service: to use it beside Headrace, type: sudo systemctl enable --now $package"
    done
    case " $packages " in
    *" rabbitmq-server "*) $as_root systemctl disable --now epmd.socket epmd.service >/dev/null 2>&1 || true ;;
    esac
fi

{ has_rabbitmq && has_redis && { [ -z "$for_tests" ] || has_postgresql; }; } ||
    { say "Installed, but not found: look at the output above."; exit 1; }
say "$names are installed."
