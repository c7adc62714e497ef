package org.maskconver.mobile

import java.io.File
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.annotation.Config
import org.robolectric.annotation.GraphicsMode

/** What the documentation shows is what is compiled and built. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [34])
@GraphicsMode(GraphicsMode.Mode.NATIVE)
class DocumentationTest {
    private val demo = File(System.getProperty("repository"))
    private val page = File(demo.parentFile, "docs/android.md").readText()

    @Before
    fun load() = Screens.loadHostLibraries()

    @Test
    fun theSnippetIsCompiled() {
        val source = File(demo, "app/src/test/kotlin/org/maskconver/mobile/LibrarySnippet.kt").readText()
        val shown = Regex("```kotlin\n(.*?)```", RegexOption.DOT_MATCHES_ALL).find(page)!!.groupValues[1]
        assertEquals(source.substringAfter("\n\n"), shown)
    }

    @Test
    fun theSnippetRuns() {
        val context = RuntimeEnvironment.getApplication()
        val photo = Photos.read { context.assets.open(ModelStore.PHOTO) }
        Scene(context).use { scene -> assertTrue(scene.describe(photo).first().contains("Box(")) }
    }

    @Test
    fun picturesAreThere() {
        val pictures = Regex("""\((android/[a-z]+\.png)\)""").findAll(page).map { it.groupValues[1] }.toList()
        assertEquals(5, pictures.size)
        for (picture in pictures) assertTrue(picture, File(demo.parentFile, "docs/$picture").length() in 1..60_000)
    }

    @Test
    fun theVersionIsThePackages() {
        val version = JSONObject(File(System.getProperty("fixtures"), "facts.json").readText()).getString("version")
        assertEquals(version, AppVersion.of(RuntimeEnvironment.getApplication()).name)
    }
}
