"""python -m ckpt_viewer"""

from ckpt_viewer.cli import entry

entry()
