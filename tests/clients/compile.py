"""Compiles the Vyper contracts. Usage: compile.py SOURCE... > {"Name": {"abi": …, "bytecode": "0x…"}}"""

import json
import sys
from pathlib import Path

from vyper import compile_code

FORMATS = ["abi", "bytecode"]

print(json.dumps({path.stem: compile_code(path.read_text(), output_formats=FORMATS) for path in map(Path, sys.argv[1:])}))
