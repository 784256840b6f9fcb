"""SLO tools that ask a live Prometheus: check, backtest, gate, explain, convert and init."""
