"""The company's own certificate authority: issue and list certificates in a directory; knows no Twisted."""
