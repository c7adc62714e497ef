"""`maskconver-mobile completion`."""

import click

NAME = "maskconver-mobile"
VARIABLE = "_MASKCONVER_MOBILE_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print what makes a shell complete verbs, options and files.

    \b
    maskconver-mobile completion bash >> ~/.bashrc
    maskconver-mobile completion zsh >> ~/.zshrc
    maskconver-mobile completion fish > ~/.config/fish/completions/maskconver-mobile.fish
    """
    from click.shell_completion import get_completion_class

    from maskconver_mobile.cli import cli

    known = get_completion_class(shell)
    if known is None:
        raise click.UsageError(f"click has no completion for {shell}")
    # `source` of bash asks the system's bash for its version; the script is the same for all.
    found = known(cli, {}, NAME, VARIABLE)
    click.echo(found.source_template % found.source_vars())
