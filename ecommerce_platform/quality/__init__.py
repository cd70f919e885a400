"""Checks on tables. They read and judge; writing and rolling back is the warehouse's business."""
