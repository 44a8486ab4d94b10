"""A chatbot that its owner runs, keeps and teaches.

Importing this package does no work and loads no library beyond the standard one: the version is all that is here.
"""

__version__ = "0.1.0"
