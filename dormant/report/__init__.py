"""What a run leaves behind: the verdict grid, pictures, summary, Allure report and benchmark records."""
