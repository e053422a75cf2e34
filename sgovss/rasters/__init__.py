"""Scenes of any size: rasters read, segmented and written window by window (extra ``geo``)."""
