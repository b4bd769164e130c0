"""`stepwell worker`: a process that executes the runs of some workflows.

`targets` finds the workflows, `health` answers those who watch the process, `command` does the
rest.
"""
