"""``mailgate.toml``: read, checked and turned into each component's own settings."""

from mailgate.settings.load import DEFAULT_PATHS, Settings, SettingsError, find_settings, load_settings

__all__ = ["DEFAULT_PATHS", "Settings", "SettingsError", "find_settings", "load_settings"]
