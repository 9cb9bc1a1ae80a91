"""Hold everything that plans, tries, executes and undoes changes of more than one message. Nothing
here prints.
"""
