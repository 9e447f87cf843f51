# Sourced by train and test: makes .venv with jcnn in it, and puts it on the PATH.
# usage: . environment.sh EXTRAS     for example: . environment.sh experiments,dev
# JCNN_VENV names another folder than .venv, PYTHON another interpreter than the first one found.

extras=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${JCNN_VENV:-$root/.venv}
stamp=$venv/.jcnn-$extras

fail() {
  printf '%s\n' "$1" >&2
  exit 2
}

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.14 python3.13 python3.12 python3.11 python3 python; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  return 1
}

install_with_uv() {
  [ -x "$venv/bin/python" ] || uv venv --quiet --python "${PYTHON:->=3.11}" "$venv" || return
  uv pip install --quiet --python "$venv/bin/python" -e "$root[$extras]"
}

install_with_pip() {
  local python
  if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python) || fail "jcnn needs Python 3.11 or later, and found none: install it from https://www.python.org, or install uv (https://docs.astral.sh/uv), which brings its own"
    "$python" -m venv --clear "$venv" || fail "'$python -m venv' failed: on Debian and Ubuntu, install the package python3-venv"
  fi
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e "$root[$extras]"
}

if [ ! -x "$venv/bin/python" ] || ! cmp -s "$root/pyproject.toml" "$stamp"; then
  printf 'Installing jcnn with its extras %s into %s …\n' "$extras" "$venv" >&2
  if command -v uv >/dev/null 2>&1; then
    install_with_uv || fail "uv could not install jcnn; its message stands above"
  else
    install_with_pip || fail "pip could not install jcnn; its message stands above"
  fi
  cp "$root/pyproject.toml" "$stamp"
fi
PATH=$venv/bin:$PATH
