"""The alert router: what Alertmanager hands over is on disk before the answer, and ends as delivered or announced."""
