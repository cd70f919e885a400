"""Would the tests notice? Random small faults in the platform's code, each tried with the tests that cover its line.

`changes.py` makes the faults, `contexts.py` notes which test covers what, `__main__.py` is the command. Nothing here
is about one part of the platform; what tests lack is written where the part is tested.
"""
