"""An executive report of one period: figures beside the period before and a year earlier, findings, what to do; as a page or PDF.

`contents` asks, `picture` draws, `render` writes. Figures are those of the dashboard (`dashboard/figures.py`).
"""
