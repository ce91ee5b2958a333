# Where the clients' Python lives; read by setup.sh and run.sh. It is kept outside the checkout, one per set of
# requirements, so that a machine installs each once.
clients_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements_hash=$( (python3 --version && cat "$clients_dir/requirements.txt") | sha256sum | cut -c1-16)
clients_venv=${XDG_CACHE_HOME:-$HOME/.cache}/quintet/clients-venv-$requirements_hash
clients_python=$clients_venv/bin/python
