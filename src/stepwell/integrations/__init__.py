"""Codecs for the classes of other packages, imported when such a class is first met."""
