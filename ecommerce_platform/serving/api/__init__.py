"""The API (FastAPI): published figures for programs. What is asked of the snapshot is in `serving/read`, who may in `serving/access`;
here are routes, answers and limits."""
