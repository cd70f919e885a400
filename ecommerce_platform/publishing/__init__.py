"""Snapshots of the tables that readers may see, as files, and their copies in object stores."""
