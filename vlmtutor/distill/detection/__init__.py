"""Methods that draw boxes, one module each: see :mod:`vlmtutor.distill.methods`."""
