"""What a person or a script starts: a build, a publication, forgetting a person, the UI; and how everything stands."""
