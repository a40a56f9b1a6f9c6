"""Names that MicroPython itself has, recorded: `dir()` of 1.24, 1.26 and 1.29, and the stubs of ESP32's modules.

A name of the firmware that MicroPython has, too, stays as it is: nothing tells whose it is where it is used. ROM are
those that every build has among its static strings, so that using one takes no RAM: the firmware's own names become
these. MODULES are those whose names are here; the linker refuses a firmware that imports another one.
"""

_MODULES = """
asyncio binascii cryptolib errno esp32 gc hashlib io json machine micropython network os random select socket struct
sys time
"""

_NAMES = """
ADC ADCBlock ADCWiPy AF_INET AF_INET6 AF_UNIX ALARM0 ALT ALT_OPEN_DRAIN ANALOG AP_IF ATTN_0DB ATTN_11DB ATTN_2_5DB
ATTN_6DB AUTH_CHAP AUTH_MAX AUTH_NONE AUTH_OPEN AUTH_OWE AUTH_PAP AUTH_WAPI_PSK AUTH_WEP AUTH_WPA2_ENTERPRISE
AUTH_WPA2_PSK AUTH_WPA2_WPA3_PSK AUTH_WPA3_ENT_192 AUTH_WPA3_EXT_PSK AUTH_WPA3_EXT_PSK_MIXED_MODE AUTH_WPA3_PSK
AUTH_WPA_PSK AUTH_WPA_WPA2_PSK AbstractNIC BANDWIDTH_160 BANDWIDTH_20 BANDWIDTH_40 BANDWIDTH_80 BANDWIDTH_80_80 BOOT
CERT_NONE CERT_OPTIONAL CERT_REQUIRED CONTROLLER CORE_TEMP CORE_VBAT CORE_VREF CTS Const_T Counter DAC DECREMENT
DEEPSLEEP DEEPSLEEP_RESET DOWN DRIVE_0 DRIVE_1 DRIVE_2 DRIVE_3 ENOTSUP ETH_CONNECTED ETH_DISCONNECTED ETH_GOT_IP
ETH_INITIALIZED ETH_STARTED ETH_STOPPED EXT0_WAKE EXT1_WAKE Ellipsis Encoder Error FALLING HARD_RESET HEAP_DATA
HEAP_EXEC HOLD I2C I2S IDLE ID_T IF_AP IF_STA IGNORE IN INCREMENT INV_CTS INV_RTS INV_RX INV_TX IOQueue IPPROTO_IP
IPPROTO_SEC IPPROTO_TCP IPPROTO_UDP IP_ADD_MEMBERSHIP IP_DROP_MEMBERSHIP IRQ_BREAK IRQ_FALLING IRQ_HIGH_LEVEL
IRQ_INDEX IRQ_LOW_LEVEL IRQ_MATCH IRQ_MAX IRQ_MIN IRQ_RESET IRQ_RISING IRQ_ROLL_OVER IRQ_ROLL_UNDER IRQ_RX IRQ_RXIDLE
IRQ_THRESHOLD0 IRQ_THRESHOLD1 IRQ_TXIDLE IRQ_ZERO JsException JsProxy LAN LSB MBEDTLS_VERSION MODE_11B MODE_11G
MODE_11N MODE_CBC MODE_CTR MODE_ECB MODE_LR MONO MSB MSG_DONTROUTE MSG_DONTWAIT MSG_PEEK MutableMapping NORMAL NVS
NotImplemented ONE_SHOT OPEN_DRAIN OUT PAD PCNT PERIODIC PHY_DM9051 PHY_DP83848 PHY_GENERIC PHY_IP101 PHY_KSZ8041
PHY_KSZ8081 PHY_KSZ8851SNL PHY_LAN8670 PHY_LAN8710 PHY_LAN8720 PHY_RTL8201 PHY_W5500 PIN_WAKE PM_NONE PM_PERFORMANCE
PM_POWERSAVE PPP PROTOCOL_DEFAULT PROTOCOL_DTLS_CLIENT PROTOCOL_DTLS_SERVER PROTOCOL_LR PROTOCOL_TLS_CLIENT
PROTOCOL_TLS_SERVER PULL_DOWN PULL_HOLD PULL_UP PULSE_MAX PWM PWRON_RESET Partition Pin PinBase RESERVE_MEM REVERSE
RISING RMT RTC RTC_WAKE RTS RUNNING RX RingIO SDCard SEC_CHAP SEC_DPP SEC_NONE SEC_OPEN SEC_OWE SEC_PAP SEC_WAPI
SEC_WEP SEC_WPA SEC_WPA2 SEC_WPA2_ENT SEC_WPA2_WPA3 SEC_WPA2_WPA3_ENT SEC_WPA3 SEC_WPA3_ENT SEC_WPA3_ENT_192
SEC_WPA3_EXT_PSK SEC_WPA3_EXT_PSK_MIXED_MODE SEC_WPA_ENT SEC_WPA_WPA2 SEEK_CUR SEEK_END SEEK_SET SLEEP SOCK_DGRAM
SOCK_RAW SOCK_STREAM SOFT_RESET SOL_SOCKET SO_BINDTODEVICE SO_BROADCAST SO_ERROR SO_KEEPALIVE SO_LINGER SO_REUSEADDR
SPI SSLContext STAT_ASSOC_FAIL STAT_BEACON_TIMEOUT STAT_CONNECTING STAT_CONNECT_FAIL STAT_GOT_IP
STAT_HANDSHAKE_TIMEOUT STAT_IDLE STAT_NO_AP_FOUND STAT_NO_AP_FOUND_IN_AUTHMODE_THRESHOLD
STAT_NO_AP_FOUND_IN_RSSI_THRESHOLD STAT_NO_AP_FOUND_W_COMPATIBLE_SECURITY STAT_WRONG_PASSWORD STA_IF STEREO Server
Signal Socket SoftI2C SoftSPI Stream StreamReader StreamWriter TCP_NODELAY TIMER_WAKE TOUCHPAD_WAKE TX TYPE_APP
TYPE_DATA ThenableEvent Timer TopLevelCoro TouchPad UART ULP ULP_WAKE UP VREF VfsFat VfsLfs1 VfsLfs2 VfsPosix VfsRom
ViperTypeError WAKEUP_ALL_LOW WAKEUP_ANY_HIGH WAKE_HIGH WAKE_LOW WDT WDT_RESET WIDTH_10BIT WIDTH_11BIT WIDTH_12BIT
WIDTH_13BIT WIDTH_9BIT WLAN WLANWiPy WLAN_WAKE _Address _CounterBase _F _INSTANCES _IRQ_STATE _PCNT _PCNT_RANGE _Param
_PinLike _Remove _Ret _T _WB __name__ _attrs _build _configure _dequeue _enqueue _exc_context _exc_handler _io_queue
_machine _mpy _offset _overflow _overflows _path _pcnt _promote_to_task _run _run_iter _schedule_run_iter _stop_task
_stopper _task_queue _thread _top_level_task _transform _unit_id a2b_hex abspath accept aclose active aes alarm
alloc_emergency_exception_buf antenna asm_thumb asm_xtensa asyncio_timer atexit atten auth awrite awritestr b2a_hex
basename bind bitstream bitstream_channel bitstream_rmt block board bytearray_at bytes_at cancel channel clearTimeout
clock clock_div close commit config connect coro country create_proxy cryptolib csi_available csi_disable csi_dropped
csi_enable csi_read data datetime decrypt deepsleep defaultdict deinit deleter dht_readinto dirname disable_irq
disconnect done drain drive duty duty_ns duty_u16 e enable_irq encrypt erase_key erf erfc errno escape exc_info
executable exists exit expanduser feed freq funcs gamma get_blob get_ciphers get_extra_info get_i32 get_next_update
getaddrinfo getenv getter hostname idf_heap_info idle ifconfig inet_ntop inet_pton inf info init ioctl ipconfig ipoll
irq isconnected isdir isfile js jsffi lexists lgamma libc_ver lightsleep listen load_binary load_cert_chain
load_verify_locations lock loop loop_count mac machine makefile mark_app_valid_cancel_rollback md5 mem16 mem32 mem8
mem_backup mem_current mem_peak mem_total memory mkfs mode modify nan native new normcase normpath off on
open_connection opt_level ph_key phases phy_mode pi ps1 ps2 pull putenv pystack_use python_compiler qstr_info
queue_read queue_write raw_temperature read_u16 read_uv readblocks readexactly readfrom readfrom_into readfrom_mem
readfrom_mem_into recv recvfrom register reset reset_cause run run_forever run_until_complete scan send sendall
sendbreak sendto setTimeout set_blob set_boot set_ciphers set_i32 set_wakeup_period setblocking setsockopt setter
settimeout sha1 shift sockaddr socket soft_reset source_freq ssid ssl stack_use start start_server state status stop
stream stream_awrite strftime system table_a2b_base64 table_b2a_base64 tau time_pulse_us tls to_js toggle txdone
undefined unique_id unregister unsetenv urandom value verify_mode viper wait_closed wait_done wait_io_event waiting
wake_on_ext0 wake_on_ext1 wake_on_gpio wake_on_touch wake_on_ulp wake_pins wake_reason width wrap_socket write_pulses
write_readinto writeblocks writeto writeto_mem writevto
"""

_ROM = """
ARRAY AUTO ArithmeticError AssertionError AttributeError BFINT16 BFINT32 BFINT8 BFUINT16 BFUINT32 BFUINT8 BF_LEN
BF_POS BIG_ENDIAN BaseException BytesIO CancelledError DeflateIO EACCES EADDRINUSE EAGAIN EALREADY EBADF ECONNABORTED
ECONNREFUSED ECONNRESET EEXIST EHOSTUNREACH EINPROGRESS EINVAL EIO EISDIR ENOBUFS ENODEV ENOENT ENOMEM ENOTCONN
EOFError EOPNOTSUPP EPERM ETIMEDOUT Event Exception FLOAT32 FLOAT64 GZIP GeneratorExit INT INT16 INT32 INT64 INT8
IOBase ImportError IndentationError IndexError KeyError KeyboardInterrupt LITTLE_ENDIAN LONG LONGLONG Lock LookupError
Loop MemoryError NATIVE NameError NotImplementedError OSError OrderedDict OverflowError POLLERR POLLHUP POLLIN POLLOUT
PTR RAW RuntimeError SHORT SingletonGenerator StopAsyncIteration StopIteration StringIO SyntaxError SystemExit Task
TaskQueue ThreadSafeFlag TimeoutError TypeError UINT UINT16 UINT32 UINT64 UINT8 ULONG ULONGLONG USHORT UnicodeError
VOID ValueError ZLIB ZeroDivisionError a2b_base64 abs acos acosh acquire add addressof all any append appendleft argv
array asin asinh asyncio atan atan2 atanh b2a_base64 bin binascii bool buffer bytearray byteorder bytes calcsize
call_exception_handler callable ceil center chdir choice chr classmethod clear cmath collect collections compile
complex const copy copysign core cos cosh count crc32 create_task cur_task current_task decode
default_exception_handler deflate degrees delattr deque dict difference difference_update digest dir disable discard
divmod dump dumps enable encode endswith enumerate errorcode eval event exec execfile exp expm1 extend fabs factorial
fileno filter find float floor flush fmod format frexp from_bytes fromhex fromkeys frozenset gather gc get
get_event_loop get_exception_handler getattr getcwd getrandbits getvalue globals gmtime hasattr hash hashlib heap_lock
heap_unlock heapify heappop heappush heapq help hex hexlify id ilistdir implementation index input insert int
intersection intersection_update io is_set isalpha isclose isdigit isdisjoint isenabled isfinite isinf isinstance
islower isnan isspace issubclass issubset issuperset isupper items iter join json kbd_intr keys ldexp len list listdir
load loads locals localtime locked log log10 log2 lower lstrip map match math max maxsize mem_alloc mem_free mem_info
memoryview micropython min mkdir mktime modf modules mount name namedtuple new_event_loop next object oct open ord os
pack pack_into partition path peek phase platform polar poll pop popitem popleft pow print print_exception property
push radians randint random randrange range re read readinto readline readlines rect release remove rename replace
repr reverse reversed rfind rindex rmdir round rpartition rsplit rstrip schedule search seed seek select sep set
set_exception_handler setattr setdefault sha256 sin sinh sizeof sleep sleep_ms sleep_us slice sort sorted split
splitlines sqrt startswith stat staticmethod statvfs stderr stdin stdout str strip struct sub sum super
symmetric_difference symmetric_difference_update sys tan tanh tell threshold ticks ticks_add ticks_cpu ticks_diff
ticks_ms ticks_us time time_ns to_bytes trunc tuple type uctypes umount unhexlify uniform union unlink unpack
unpack_from update upper values version version_info vfs wait wait_for wait_for_ms write zip
"""

MODULES = frozenset(_MODULES.split())
NAMES = frozenset(_NAMES.split())
ROM = tuple(_ROM.split())
BUILTIN = NAMES | frozenset(ROM)
