"""`stepwell demo`: a real job, killed in the middle, twice, and what became of it.

command     the command and its options
documents   what is converted: the descriptions of the installed packages
program     the workflow: `examples/durable_documents.py`, also in an installed package
child       runs the program in a process of its own, and writes down what it really does
journal     where that is written, outside of the workflow and of Redis
trial       starts the child, kills it, starts it again
numbers     what journal and pages prove
screen      what the user sees
"""
