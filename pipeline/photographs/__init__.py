"""Photographs of a finished batch, with the boxes of their faces, in its report on request."""
