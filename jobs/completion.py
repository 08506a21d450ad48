"""`quire completion`: the script by which a shell completes commands, options and names of settings."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from quire.config.described import described

_SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion_command(context: click.Context, /, shell: str) -> None:
    """Print a script by which SHELL completes commands, options, engines and names of settings.

    \b
    bash: quire completion bash > ~/.local/share/bash-completion/completions/quire
    zsh:  quire completion zsh > ~/.quire-completion.zsh, and in ~/.zshrc after compinit:
          source ~/.quire-completion.zsh
    fish: quire completion fish > ~/.config/fish/completions/quire.fish

    New shells have it. The script asks the quire that is installed, so it never gets old.
    """
    root = context.find_root()
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    click.echo(kind(root.command, {}, "quire", "_QUIRE_COMPLETE").source())


def setting_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What `--set` can begin with."""
    names = described().values()
    return [
        CompletionItem(f"{one.full_name}=", help=one.meaning)
        for one in names
        if one.full_name.startswith(incomplete)
    ]
