"""A standing attack on every command: signals, faults, full disks, other users, hostile files.

    make attack             # an hour's amount; N=0.1 a tenth of it
    PYTHONPATH=tests .venv/bin/python -m attack --attack faults --seed 1 --case 17

Each attack is a module with a class of the protocol `attack.protocol.Attack`. A case is drawn from
the seed and its number alone, so that a failure can be had again.
"""
