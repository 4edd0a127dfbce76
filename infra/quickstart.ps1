# Facecrop on this machine, with a Prefect server and its UI. On Linux and macOS: quickstart.sh.
#   powershell -ExecutionPolicy Bypass -File infra\quickstart.ps1 [ARCHIVE]
#       sets up, starts the server, crops ARCHIVE (a sample if none is named)
#   powershell -ExecutionPolicy Bypass -File infra\quickstart.ps1 --stop
#       ends what it started
# All that is done is done by quickstart.py: this finds a Python for it, 3.11 or newer. It keeps to what
# Windows PowerShell 5.1 knows, which comes with Windows.

$given = $args
$infra = $PSScriptRoot

# Whether a command is there and is such a Python. The alias that Windows has where no Python is
# installed, and which opens the Microsoft Store, is there, too, and fails.
function Test-Python([string] $Program, [string[]] $Options) {
    if (-not (Get-Command $Program -CommandType Application -ErrorAction SilentlyContinue)) {
        return $false
    }
    try {
        & $Program @Options -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>$null | Out-Null
        return $LASTEXITCODE -eq 0
    } catch {
        return $false
    }
}

$candidates = @(
    @('py', '-3'), @('py', '-3.13'), @('py', '-3.12'), @('py', '-3.11'),
    @('python3'), @('python'),
    @((Join-Path $infra '..\.venv\Scripts\python.exe'))
)
if ($env:PYTHON) {
    $candidates = @(, @($env:PYTHON)) + $candidates
}
foreach ($candidate in $candidates) {
    $program = $candidate[0]
    $options = @($candidate | Select-Object -Skip 1) # an array always: a string is splatted by its letters
    if (Test-Python $program $options) {
        & $program @options (Join-Path $infra 'quickstart.py') @given
        exit $LASTEXITCODE
    }
}
[Console]::Error.WriteLine('Facecrop needs Python 3.11 or newer: install it from python.org or with ' +
    '"winget install Python.Python.3.13", or name it: $env:PYTHON = "C:\path\to\python.exe"')
exit 1
