"""Read, segment and write rasters of any size, window by window (extra ``geo``)."""
