"""A Django management command as a worker: `python -m benchmarks.workers.command NAME ARGUMENTS…`.

What `manage.py` does, but for the system checks; and it leaves the time at which the command, imported with the whole
site, begins: these peers have no signal that says that a worker takes jobs. Must not be imported.
"""

import sys

import django
from django.core.management import call_command, get_commands, load_command_class

from benchmarks.place import Place
from benchmarks.stamps import Stamps

if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    django.setup()
    command = load_command_class(get_commands()[name], name)
    Stamps(Place.from_environ().ready).mark()
    call_command(command, *arguments)
